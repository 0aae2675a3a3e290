// As "own-root ROOT FILE DIRECTORY MEMORY" it makes a mount and a pid namespace, whose process 1 has ROOT as its root and runs /own-root there, which counts
// in /data/state. When /data/go appears it looks whether all mounts are as they were, and what is on them.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 40000, LINES = 64, WIDTH = 512 };

static long errors;
static char first_error[64];

static void wrong(const char *what) {
    if (errors++ == 0) snprintf(first_error, sizeof first_error, "%s", what);
}

static void rest(void) { nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); }

static void need(int succeeded, const char *what) {
    if (succeeded) return;
    perror(what);
    exit(1);
}

// MARK: Outside

static void bind_into(const char *source, const char *target) {
    need(mount(source, target, NULL, MS_BIND, NULL) == 0, target);
}

static int enter(char **arguments) {
    need(unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC) == 0, "unshare");
    pid_t child = fork();
    if (child != 0) return child > 0 ? 0 : 1;
    setsid();
    need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private");
    need(mount(arguments[1], arguments[1], NULL, MS_BIND, NULL) == 0, "root");
    need(chdir(arguments[1]) == 0, "root");
    need(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0, "proc");
    bind_into("proc/sys", "proc/sys");
    need(mount(NULL, "proc/sys", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, NULL) == 0, "proc/sys");
    need(mount("devices", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k") == 0, "dev");
    need(mkdir("dev/pts", 0755) == 0 && mkdir("dev/shm", 01777) == 0 && mkdir("dev/mqueue", 0755) == 0, "dev");
    need(mknod("dev/null", S_IFCHR | 0666, makedev(1, 3)) == 0 && mknod("dev/zero", S_IFCHR | 0666, makedev(1, 5)) == 0, "dev");
    need(mount("terminals", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=666,mode=620,gid=5") == 0, "pts");
    need(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=8m,nr_inodes=500,mode=1777") == 0, "shm");
    need(mount("mqueue", "dev/mqueue", "mqueue", 0, NULL) == 0, "mqueue");
    need(mount("sysfs", "sys", "sysfs", MS_RDONLY, NULL) == 0, "sys");
    bind_into("dev/null", "proc/kcore");
    bind_into(arguments[2], "etc/of-the-guest");
    need(mount(NULL, "etc/of-the-guest", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0, "guest's file");
    bind_into(arguments[3], "mnt");
    bind_into(arguments[4], "srv");
    need(mount("formats", "formats", "binfmt_misc", 0, NULL) == 0, "formats");
    need(mount("hidden", "hidden", "tmpfs", 0, NULL) == 0 && mkdir("hidden/shown", 0755) == 0, "hidden");
    bind_into("hidden/shown", "shown");
    need(syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/data") == 0, "pivot_root");
    for (int fd = 0; fd < 3; fd++) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, fd);
    }
    execl("/own-root", "own-root", NULL);
    return 1;
}

// MARK: Inside

// All but the ids, the device, and what says how mounts propagate.
static int mounts(char lines[LINES][WIDTH]) {
    FILE *file = fopen("/proc/self/mountinfo", "r");
    int count = 0;
    char line[2048], root[WIDTH], point[WIDTH], options[WIDTH];
    while (file && count < LINES && fgets(line, sizeof line, file)) {
        char *tail = strstr(line, " - ");
        if (!tail || sscanf(line, "%*s %*s %*s %511s %511s %511s", root, point, options) != 3) continue;
        if (snprintf(lines[count], WIDTH, "%s %s %s%s", root, point, options, tail) < WIDTH) count++;
    }
    if (file) fclose(file);
    return count;
}

static uint64_t word(uint64_t index) { return (index + 1) * 0x9e3779b97f4a7c15u; }

static void make(const char *path, uint64_t words) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640);
    for (uint64_t i = 0; i < words; i++) {
        uint64_t value = word(i);
        need(write(fd, &value, sizeof value) == sizeof value, path);
    }
    close(fd);
}

static void compare(int fd, uint64_t words, const char *what) {
    for (uint64_t i = 0; i < words; i++) {
        uint64_t value;
        if (pread(fd, &value, sizeof value, i * sizeof value) == sizeof value && value == word(i)) continue;
        wrong(what);
        return;
    }
}

static char before[LINES][WIDTH], after[LINES][WIDTH];
static int before_count, held, removed, hole, watches, directory_watch, file_watch;
static uint64_t *shared;
static pid_t other;
static char long_name[200];

// Another mount namespace, in which the only name that a file has left is not to be seen. It says by how it ends whether it still has that file.
static void other_namespace(void) {
    int ready[2];
    need(pipe(ready) == 0, "pipe");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    make("/shown/file", 100);
    need(link("/hidden/shown/file", "/hidden/elsewhere") == 0, "link");
    other = fork();
    if (other == 0) {
        int fd = open("/shown/file", O_RDWR), number;
        struct stat before, after;
        if (unshare(CLONE_NEWNS) != 0 || umount("/hidden") != 0 || fd < 0 || unlink("/shown/file") != 0) _exit(2);
        if (fstat(fd, &before) != 0 || before.st_nlink != 1 || write(ready[1], "r", 1) != 1) _exit(3);
        sigwait(&set, &number);
        compare(fd, 100, "file");
        if (errors || access("/shown/file", F_OK) == 0) _exit(4);
        if (fstat(fd, &after) != 0 || after.st_nlink != 1 || pwrite(fd, "seen", 4, 0) != 4) _exit(5);
        _exit(0);
    }
    char byte;
    need(read(ready[0], &byte, 1) == 1, "other namespace");
    close(ready[0]);
    close(ready[1]);
}

static void check_other(void) {
    int status = 0;
    kill(other, SIGUSR1);
    if (waitpid(other, &status, 0) != other || status != 0) wrong("what has a name in another mount namespace only");
    char bytes[4] = "";
    int fd = open("/hidden/elsewhere", O_RDONLY);
    if (read(fd, bytes, 4) != 4 || memcmp(bytes, "seen", 4) != 0) wrong("the name leads to another file");
    close(fd);
}

static const char format[] = "enabled\ninterpreter /own-root\nflags: \nextension .xenprcase\n";

static void check_format(void) {
    char text[256] = "";
    int fd = open("/formats/xenpr-case", O_RDONLY);
    if (read(fd, text, sizeof text - 1) < 0 || strcmp(text, format) != 0) wrong("format");
    close(fd);
    fd = open("/formats/xenpr-magic", O_RDONLY);
    memset(text, 0, sizeof text);
    if (read(fd, text, sizeof text - 1) < 0 || !strstr(text, "disabled") || !strstr(text, "offset 4\nmagic 007f3a\nmask fffe00")) wrong("magic");
    close(fd);
}

static void write_to(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    need(write(fd, text, strlen(text)) == (ssize_t)strlen(text), text);
    close(fd);
}

static void prepare(void) {
    write_to("/formats/register", ":xenpr-case:E::xenprcase::/own-root:");
    write_to("/formats/register", ":xenpr-magic:M:4:\\x00\\x7f\\x3a:\\xff\\xfe\\x00:/own-root:P");
    write_to("/formats/xenpr-magic", "0");
    check_format();
    need(errors == 0, "formats");
    other_namespace();
    before_count = mounts(before);
    make("/dev/shm/file", WORDS);
    held = open("/dev/shm/file", O_RDWR);
    make("/dev/shm/removed", 1000);
    removed = open("/dev/shm/removed", O_RDWR);
    unlink("/dev/shm/removed");
    make("/dev/shm/mapped", 512);
    int fd = open("/dev/shm/mapped", O_RDWR);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    hole = open("/dev/shm/hole", O_RDWR | O_CREAT, 0600);
    need(pwrite(hole, "end", 3, 300000) == 3, "hole");
    memset(long_name, 'n', sizeof long_name - 1);
    memcpy(long_name, "/dev/shm/a/b/", 13);
    need(mkdir("/dev/shm/a", 0711) == 0 && mkdir("/dev/shm/a/b", 0700) == 0, "directories");
    make(long_name, 3);
    need(link("/dev/shm/file", "/dev/shm/a/link") == 0 && symlink("../file", "/dev/shm/a/symlink") == 0, "links");
    need(mkfifo("/dev/shm/fifo", 0604) == 0 && chown("/dev/shm/fifo", 12, 34) == 0, "fifo");
    watches = inotify_init1(IN_NONBLOCK);
    directory_watch = inotify_add_watch(watches, "/dev/shm/a/b", IN_CREATE);
    file_watch = inotify_add_watch(watches, "/dev/shm/hole", IN_MODIFY);
    need(directory_watch > 0 && file_watch > 0, "watches");
    need(held >= 0 && removed >= 0 && shared != MAP_FAILED, "files");
}

static int has_line(const char *line, char lines[LINES][WIDTH], int count) {
    for (int i = 0; i < count; i++) if (strcmp(line, lines[i]) == 0) return 1;
    return 0;
}

// What is watched on the tmpfs, which the guest itself does not see.
static void watch(void) {
    close(open("/dev/shm/a/b/new", O_WRONLY | O_CREAT | O_EXCL, 0600));
    if (pwrite(hole, "END", 3, 300000) != 3) wrong("write");
    char events[1024] __attribute__((aligned(8)));
    ssize_t length = read(watches, events, sizeof events);
    const struct inotify_event *first = (void *)events;
    if (length <= (ssize_t)sizeof *first || first->wd != directory_watch || first->mask != IN_CREATE || strcmp(first->name, "new") != 0) {
        wrong("watch of a directory");
        return;
    }
    const struct inotify_event *second = (void *)(events + sizeof *first + first->len);
    if ((const char *)(second + 1) > events + length || second->wd != file_watch || second->mask != IN_MODIFY) wrong("watch of a file");
}

static void verify(void) {
    int count = mounts(after);
    if (count != before_count || count == 0) wrong("another number of mounts");
    for (int i = 0; i < before_count; i++) if (!has_line(before[i], after, count)) wrong(before[i]);
    compare(held, WORDS, "held file");
    compare(removed, 1000, "removed file");
    struct stat status, other;
    if (fstat(removed, &status) != 0 || status.st_nlink != 0) wrong("the removed file has a name");
    for (uint64_t i = 0; i < 512; i++) if (shared[i] != word(i)) wrong("mapped file");
    // The mapping and the name lead to the same file.
    shared[7] = 77;
    int fd = open("/dev/shm/mapped", O_RDONLY);
    uint64_t value;
    if (pread(fd, &value, 8, 56) != 8 || value != 77) wrong("the mapping and its file are apart");
    close(fd);
    char bytes[4];
    if (pread(hole, bytes, 4, 300000) != 3 || memcmp(bytes, "end", 3) != 0 || pread(hole, bytes, 1, 5) != 1 || bytes[0]) wrong("hole");
    watch();
    check_format();
    check_other();
    close(open("/srv/new", O_WRONLY | O_CREAT | O_EXCL, 0600));
    fd = open(long_name, O_RDONLY);
    compare(fd, 3, "file of a long name");
    close(fd);
    if (stat("/dev/shm/a/symlink", &status) != 0 || fstat(held, &other) != 0 || status.st_ino != other.st_ino) wrong("symlink");
    if (stat("/dev/shm/a/link", &status) != 0 || status.st_ino != other.st_ino || status.st_nlink != 2) wrong("hard link");
    if (stat("/dev/shm/a", &status) != 0 || (status.st_mode & 07777) != 0711) wrong("directory");
    if (stat("/dev/shm/fifo", &status) != 0 || status.st_mode != (S_IFIFO | 0604) || status.st_uid != 12 || status.st_gid != 34)
        wrong("fifo");
    if (stat("/dev/zero", &status) != 0 || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 5)) wrong("device");
    if (open("/etc/of-the-guest", O_WRONLY) >= 0 || errno != EROFS) wrong("the guest's file can be written to");
    if (access("/etc/passwd", F_OK) == 0 || access("/var", F_OK) == 0) wrong("the guest's root can be seen");
    if (access("/proc/2", F_OK) == 0 || access("/proc/1/status", F_OK) != 0) wrong("/proc");
}

int main(int count, char **arguments) {
    if (count == 5) return enter(arguments);
    int state = open("/data/state", O_RDWR | O_CREAT | O_EXCL, 0644);
    prepare();
    int verified = 0;
    for (uint64_t number = 1;; number++) {
        if (!verified && access("/data/go", F_OK) == 0) {
            verify();
            verified = 1;
        }
        char line[129];
        snprintf(line, sizeof line, "%d %lu %ld %d %d %s", getpid(), number, errors, verified, before_count, first_error);
        size_t length = strlen(line);
        memset(line + length, ' ', sizeof line - length);
        line[127] = '\n';
        if (pwrite(state, line, 128, 0) != 128) return 4;
        rest();
    }
}
