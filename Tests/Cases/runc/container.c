// Process 1 of a container counts in /data/state, and has a child that it reaps at the end. When /data/go appears it looks whether the container is the one
// that it was in.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINES = 64, WIDTH = 512, WORDS = 20000 };

static long errors;
static char first_error[64];

static void wrong(const char *what) {
    int fd = open("/data/errors", O_WRONLY | O_CREAT | O_APPEND, 0644);
    dprintf(fd, "%s\n", what);
    close(fd);
    if (errors++ == 0) snprintf(first_error, sizeof first_error, "%s", what);
}

static void rest(void) { nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); }

static void need(int succeeded, const char *what) {
    if (succeeded) return;
    int fd = open("/data/failure", O_WRONLY | O_CREAT, 0644);
    dprintf(fd, "%s: %s\n", what, strerror(errno));
    exit(1);
}

// All but the ids, the device, and what says how mounts propagate. How large devtmpfs is the guest decides at each boot.
static int mounts(char lines[LINES][WIDTH]) {
    FILE *file = fopen("/proc/self/mountinfo", "r");
    int count = 0;
    char line[2048], root[WIDTH], point[WIDTH], options[WIDTH];
    while (file && count < LINES && fgets(line, sizeof line, file)) {
        char *tail = strstr(line, " - ");
        char *devices = strstr(line, " - devtmpfs ");
        if (devices) devices[strlen(" - devtmpfs ")] = 0;
        if (!tail || sscanf(line, "%*s %*s %*s %511s %511s %511s", root, point, options) != 3) continue;
        if (snprintf(lines[count], WIDTH, "%s %s %s%s", point, root, options, tail) < WIDTH) count++;
    }
    if (file) fclose(file);
    return count;
}

// Why a file cannot be written to.
static int refusal(const char *path) {
    int fd = open(path, O_WRONLY);
    if (fd < 0) return errno;
    close(fd);
    return 0;
}

static int has_line(const char *line, char lines[LINES][WIDTH], int count) {
    for (int i = 0; i < count; i++) if (strcmp(line, lines[i]) == 0) return 1;
    return 0;
}

// A file of /proc, up to what fits.
static void text(const char *path, char *bytes, size_t size) {
    memset(bytes, 0, size);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, bytes, size - 1) < 0) wrong(path);
    close(fd);
}

static char before[LINES][WIDTH], after[LINES][WIDTH], nonce[64], identity[1024], cgroup[256], maps[2][512];
static struct stat files[4];
// Watches a directory of the guest and one of its own root.
static int watcher;
static int os_release, trigger;
static int before_count, in_root, below, copied, removed, in_memory, listener;
// Both ends of a TCP connection, with bytes under way in each direction.
static int client, server;
static pid_t child;

static uint64_t word(uint64_t index) { return (index + 1) * 0x9e3779b97f4a7c15u; }

// The lines of /proc/self/status from one field to another.
static const char *lines(char *status, const char *from, const char *to, int *length) {
    char *start = strstr(status, from), *end = start ? strstr(start, to) : NULL;
    *length = start && end ? (int)(end - start) : 0;
    return start ? start : "";
}

// Who it is and what it may do, as its own user namespace says it.
static void read_identity(char *to, size_t size) {
    char status[4096];
    text("/proc/self/status", status, sizeof status);
    int ids, groups, capabilities;
    const char *first = lines(status, "Uid:", "FDSize:", &ids), *second = lines(status, "Groups:", "NStgid:", &groups);
    const char *third = lines(status, "CapInh:", "NoNewPrivs:", &capabilities);
    snprintf(to, size, "%.*s%.*s%.*s", ids, first, groups, second, capabilities, third);
}

// Whom its files belong to.
static void owners(struct stat now[4]) {
    int open_files[4] = {in_root, copied, removed, in_memory};
    for (int i = 0; i < 4; i++) if (fstat(open_files[i], &now[i]) != 0) wrong("a file");
}

static void prepare(void) {
    need(unlink("/hidden") == 0, "/hidden");
    before_count = mounts(before);
    need((os_release = refusal("/etc/os-release")) != 0, "/etc/os-release");
    need((trigger = refusal("/proc/sysrq-trigger")) != 0, "/proc/sysrq-trigger");
    snprintf(nonce, sizeof nonce, "%s", getenv("NONCE") ? getenv("NONCE") : "");
    read_identity(identity, sizeof identity);
    text("/proc/self/uid_map", maps[0], sizeof maps[0]);
    text("/proc/self/gid_map", maps[1], sizeof maps[1]);
    text("/proc/self/cgroup", cgroup, sizeof cgroup);
    in_root = open("/note", O_RDWR | O_CREAT | O_EXCL, 0600);
    need(dprintf(in_root, "%s", nonce) > 0, "/note");
    // Its root is an overlay: a file of the lower layer, one that is copied up, and one whose name is removed.
    need((below = open("/below", O_RDONLY)) >= 0, "/below");
    need(open("/screen", O_RDONLY) < 0 && errno == EPERM, "the filter of devices");
    need((copied = open("/copied", O_RDWR | O_APPEND)) >= 0 && dprintf(copied, "%s", nonce) > 0, "/copied");
    removed = open("/removed", O_RDWR | O_CREAT | O_EXCL, 0600);
    need(dprintf(removed, "%s", nonce) > 0 && unlink("/removed") == 0, "/removed");
    in_memory = open("/tmp/words", O_RDWR | O_CREAT | O_EXCL, 0600);
    for (uint64_t i = 0; i < WORDS; i++) {
        uint64_t value = word(i);
        need(write(in_memory, &value, 8) == 8, "/tmp/words");
    }
    need(fchown(in_memory, 7, 8) == 0, "chown");
    owners(files);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(22), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    listener = socket(AF_INET, SOCK_STREAM, 0);
    need(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 1) == 0, "port 22");
    client = socket(AF_INET, SOCK_STREAM, 0);
    need(connect(client, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    need((server = accept(listener, NULL, NULL)) >= 0, "accept");
    need(write(client, "asked before", 12) == 12 && write(server, "said before", 11) == 11, "connection");
    watcher = inotify_init1(IN_NONBLOCK);
    need(inotify_add_watch(watcher, "/data", IN_CREATE) == 1 && inotify_add_watch(watcher, "/", IN_CREATE) == 2, "inotify");
    child = fork();
    if (child == 0) for (;;) pause();
    need(child > 0, "fork");
}

static void read_all(int fd, char *bytes, size_t size) {
    memset(bytes, 0, size);
    if (pread(fd, bytes, size - 1, 0) < 0) wrong("a file of its root cannot be read");
}

// What was written before and what is written now comes out, and nothing else.
static void check_connection(void) {
    char bytes[64];
    if (write(client, ", and now", 9) != 9 || write(server, ", and now", 9) != 9) wrong("the connection cannot be written to");
    if (recv(server, bytes, 21, MSG_WAITALL) != 21 || memcmp(bytes, "asked before, and now", 21) != 0) wrong("what the connection asked");
    if (recv(client, bytes, 20, MSG_WAITALL) != 20 || memcmp(bytes, "said before, and now", 20) != 0) wrong("what the connection said");
    if (shutdown(client, SHUT_WR) != 0 || recv(server, bytes, 1, 0) != 0) wrong("the end of the connection");
}

static void check_network(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(22), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int other = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(other, (struct sockaddr *)&address, sizeof address) != 0) wrong("port 22");
    close(other);
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) wrong("addresses");
    for (struct ifaddrs *one = all; one; one = one->ifa_next) if (strcmp(one->ifa_name, "lo") != 0) wrong("a device of the guest");
}

// What is new in both of the directories that it watches. A file can be found shortly before its event is there (open_last_lookups, fs/namei.c).
static void check_watches(void) {
    int made = open("/made", O_WRONLY | O_CREAT | O_EXCL, 0600), seen = 0;
    char events[4096] __attribute__((aligned(8)));
    struct pollfd more = {.fd = watcher, .events = POLLIN};
    while (seen != 3 && poll(&more, 1, 20000) == 1) {
        ssize_t count = read(watcher, events, sizeof events);
        for (ssize_t at = 0; at < count;) {
            struct inotify_event *event = (struct inotify_event *)(events + at);
            if (event->wd == 1 && strcmp(event->name, "go") == 0) seen |= 1;
            if (event->wd == 2 && strcmp(event->name, "made") == 0) seen |= 2;
            at += sizeof *event + event->len;
        }
    }
    if (made < 0 || seen != 3) wrong("what inotify tells");
    close(made);
}

static void verify(void) {
    check_watches();
    int count = mounts(after);
    if (count != before_count || count == 0) wrong("another number of mounts");
    for (int i = 0; i < before_count; i++) if (!has_line(before[i], after, count)) wrong(before[i]);
    char now[1024], note[64] = "";
    if (pread(in_root, note, sizeof note - 1, 0) < 0 || strcmp(note, nonce) != 0) wrong("the file in its root");
    char expected[80];
    snprintf(expected, sizeof expected, "below\n%s", nonce);
    read_all(below, now, sizeof now);
    if (strcmp(now, "below\n") != 0) wrong("the file of the lower layer");
    read_all(copied, now, sizeof now);
    if (strcmp(now, expected) != 0) wrong("the file that was copied up");
    read_all(removed, now, sizeof now);
    if (strcmp(now, nonce) != 0) wrong("the file whose name was removed");
    if (access("/removed", F_OK) == 0 || access("/hidden", F_OK) == 0) wrong("a name that was removed");
    for (uint64_t i = 0; i < WORDS; i++) {
        uint64_t value;
        if (pread(in_memory, &value, 8, i * 8) == 8 && value == word(i)) continue;
        wrong("the file on its tmpfs");
        break;
    }
    struct stat byName, byDescriptor;
    if (stat("/tmp/words", &byName) != 0 || fstat(in_memory, &byDescriptor) != 0 || byName.st_ino != byDescriptor.st_ino)
        wrong("the name of the file on its tmpfs");
    read_identity(now, sizeof now);
    if (strcmp(now, identity) != 0) wrong("its users, groups and capabilities");
    text("/proc/self/uid_map", now, sizeof now);
    if (strcmp(now, maps[0]) != 0) wrong("users of its user namespace");
    text("/proc/self/gid_map", now, sizeof now);
    if (strcmp(now, maps[1]) != 0) wrong("groups of its user namespace");
    struct stat whose[4];
    owners(whose);
    for (int i = 0; i < 4; i++)
        if (whose[i].st_uid != files[i].st_uid || whose[i].st_gid != files[i].st_gid || whose[i].st_mode != files[i].st_mode) wrong("whom its files belong to");
    text("/proc/self/cgroup", now, sizeof now);
    if (strcmp(now, cgroup) != 0 || strcmp(now, "0::/\n") != 0) wrong("cgroup namespace");
    char processes[256];
    text("/sys/fs/cgroup/cgroup.procs", processes, sizeof processes);
    if (strncmp(processes, "1\n", 2) != 0) wrong("/sys/fs/cgroup is not its cgroup");
    struct utsname names;
    if (uname(&names) != 0 || strcmp(names.nodename, "contained") != 0) wrong("host name");
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur != 256 || limit.rlim_max != 512) wrong("resource limits");
    if (access("/etc/passwd", F_OK) == 0 || access("/var", F_OK) == 0) wrong("the guest's root can be seen");
    if (refusal("/etc/os-release") != os_release) wrong("the guest's file can be written to");
    if (open("/screen", O_RDONLY) >= 0 || errno != EPERM) wrong("a device that was not for it can be opened");
    int zero = open("/dev/zero", O_RDONLY);
    if (zero < 0 || read(zero, now, 1) != 1) wrong("/dev/zero cannot be read");
    close(zero);
    if (refusal("/proc/sysrq-trigger") != trigger) wrong("a path that was read-only can be written to");
    check_connection();
    check_network();
    int status;
    if (kill(child, SIGKILL) != 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) wrong("its child");
}

int main(void) {
    int state = open("/data/state", O_RDWR | O_CREAT | O_EXCL, 0644);
    prepare();
    int verified = 0;
    for (uint64_t number = 1;; number++) {
        if (!verified && access("/data/go", F_OK) == 0) {
            verify();
            verified = 1;
        }
        char line[129];
        snprintf(line, sizeof line, "%.40s %lu %ld %d %d %s", nonce, number, errors, verified, before_count, first_error);
        size_t length = strlen(line);
        memset(line + length, ' ', sizeof line - length);
        line[127] = '\n';
        if (pwrite(state, line, 128, 0) != 128) return 4;
        rest();
    }
}
