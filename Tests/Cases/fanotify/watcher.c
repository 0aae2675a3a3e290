// Makes fanotify groups of several kinds, and when the file "go" is there does what they watch: each has to tell of its events and of no others.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char problems[4096];
static int groups;

static void wrong(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t used = strlen(problems);
    vsnprintf(problems + used, sizeof problems - used, format, arguments);
    va_end(arguments);
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int group(unsigned flags, unsigned event_flags) {
    int fd = fanotify_init(flags, event_flags);
    if (fd < 0) die("fanotify_init");
    groups++;
    return fd;
}

static void mark(int fd, unsigned flags, unsigned long long mask, const char *path) {
    if (fanotify_mark(fd, FAN_MARK_ADD | flags, mask, AT_FDCWD, path) != 0) die(path);
}

static void touch(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1) die(path);
    close(fd);
}

static void look(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, &byte, 1) < 0) die(path);
    close(fd);
}

// All that a group tells now: the events together in `mask`, and the last part of the name of the last one's file in `name`.
static int events(int fd, unsigned long long *mask, char *name, int *access_mode) {
    char buffer[4096] __attribute__((aligned(8)));
    int count = 0;
    *mask = 0;
    *name = 0;
    *access_mode = -1;
    ssize_t length;
    while ((length = read(fd, buffer, sizeof buffer)) > 0) {
        struct fanotify_event_metadata *event = (void *)buffer;
        for (; FAN_EVENT_OK(event, length); event = FAN_EVENT_NEXT(event, length)) {
            count++;
            *mask |= event->mask;
            if (event->fd < 0) continue;
            char link[64], path[512];
            snprintf(link, sizeof link, "/proc/self/fd/%d", event->fd);
            ssize_t end = readlink(link, path, sizeof path - 1);
            path[end < 0 ? 0 : end] = 0;
            char *last = strrchr(path, '/');
            snprintf(name, NAME_MAX + 1, "%.*s", NAME_MAX, last ? last + 1 : path);
            *access_mode = fcntl(event->fd, F_GETFL) & O_ACCMODE;
            close(event->fd);
        }
    }
    if (length < 0 && errno != EAGAIN) wrong("a read fails: %s. ", strerror(errno));
    return count;
}

// Takes what others did.
static void drain(int fd) {
    unsigned long long mask;
    char name[NAME_MAX + 1];
    int mode;
    events(fd, &mask, name, &mode);
}

static void expect(const char *what, int fd, unsigned long long mask, const char *name, int access_mode) {
    unsigned long long seen;
    char path[NAME_MAX + 1];
    int mode, count = events(fd, &seen, path, &mode);
    if (seen != mask || strcmp(path, name) != 0 || mode != access_mode)
        wrong("%s: %d events 0x%llx of \"%s\" (%d), not 0x%llx of \"%s\" (%d). ", what, count, seen, path, mode, mask, name, access_mode);
}

static void line(char *text, size_t size, int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(text, 1, size - 1, file) : 0;
    text[length] = 0;
    if (file) fclose(file);
    // Without the marks, whose order and mount ids are the kernel's.
    char *first = strstr(text, "fanotify flags");
    char *end = first ? strchr(first, '\n') : NULL;
    if (end) *end = 0;
    memmove(text, first ? first : text, strlen(first ? first : text) + 1);
}

// Opens a file in a child, and answers what the group is asked. Returns the child's error.
static int ask(int fd, const char *path, unsigned response) {
    pid_t child = fork();
    if (child == 0) _exit(open(path, O_RDONLY) < 0 ? errno : 0);
    struct fanotify_event_metadata event;
    // This one waits.
    if (read(fd, &event, sizeof event) < (ssize_t)sizeof event || !(event.mask & FAN_OPEN_PERM)) return -1;
    struct fanotify_response answer = {event.fd, response};
    if (write(fd, &answer, sizeof answer) != sizeof answer) return -2;
    close(event.fd);
    int status;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

int main(void) {
    mkdir("watched", 0755);
    touch("file");
    touch("with spaces and umläut");
    touch("ignored");
    touch("decided");
    touch("watched/inside");

    int files = group(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE);
    mark(files, 0, FAN_OPEN | FAN_CLOSE_WRITE, "file");
    mark(files, 0, FAN_MODIFY, "with spaces and umläut");
    int directory = group(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDWR | O_LARGEFILE | O_CLOEXEC);
    mark(directory, 0, FAN_CLOSE_WRITE | FAN_EVENT_ON_CHILD, "watched");
    int mounted = group(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_UNLIMITED_MARKS | FAN_UNLIMITED_QUEUE, O_RDONLY);
    // A mount that is there after the reboot too, and that hardly anybody else uses.
    mark(mounted, FAN_MARK_MOUNT, FAN_OPEN | FAN_ONDIR, "/sys/fs/pstore");
    int leaves_out = group(FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDONLY);
    mark(leaves_out, 0, FAN_OPEN | FAN_CLOSE_NOWRITE, "ignored");
    mark(leaves_out, FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN, "ignored");
    int handles = group(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_NONBLOCK, 0);
    mark(handles, 0, FAN_CREATE | FAN_DELETE | FAN_ONDIR, "watched");
    int decides = group(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY | O_LARGEFILE);
    mark(decides, 0, FAN_OPEN_PERM, "decided");
    int empty = group(FAN_CLASS_PRE_CONTENT, O_RDONLY);
    // It is made one that does not wait.
    if (fcntl(empty, F_SETFL, O_NONBLOCK) != 0) die("F_SETFL");

    int all[] = {files, directory, mounted, leaves_out, handles, decides, empty};
    enum { COUNT = sizeof all / sizeof *all };
    char before[COUNT][256], now[256];
    int flags[COUNT], descriptor[COUNT];
    for (int i = 0; i < COUNT; i++) {
        line(before[i], sizeof before[i], all[i]);
        flags[i] = fcntl(all[i], F_GETFL);
        descriptor[i] = fcntl(all[i], F_GETFD);
    }
    // What was asked is answered, what was told is read: nothing waits at the crash.
    touch("file");
    expect("a file before the crash", files, FAN_OPEN | FAN_CLOSE_WRITE, "file", O_RDONLY);
    if (ask(decides, "decided", FAN_DENY) != EPERM) die("FAN_DENY");

    close(open("ready", O_WRONLY | O_CREAT, 0600));
    while (access("go", F_OK) != 0) {
        drain(mounted);
        usleep(20000);
    }

    for (int i = 0; i < COUNT; i++) {
        line(now, sizeof now, all[i]);
        // FAN_NONBLOCK (2) is where fcntl was told it; the kernel keeps what the group was made with.
        if (strcmp(now, before[i]) != 0 && all[i] != empty) wrong("\"%s\" is \"%s\". ", before[i], now);
        if ((fcntl(all[i], F_GETFL) ^ flags[i]) & O_NONBLOCK) wrong("O_NONBLOCK of group %d is not as it was. ", i);
        if (fcntl(all[i], F_GETFD) != descriptor[i]) wrong("FD_CLOEXEC of group %d is not as it was. ", i);
    }
    expect("nothing", files, 0, "", -1);
    touch("file");
    expect("a file", files, FAN_OPEN | FAN_CLOSE_WRITE, "file", O_RDONLY);
    touch("with spaces and umläut");
    expect("a file with a long name", files, FAN_MODIFY, "with spaces and umläut", O_RDONLY);
    look("watched/inside");
    expect("a look into a directory", directory, 0, "", -1);
    touch("watched/inside");
    expect("a file in a directory", directory, FAN_CLOSE_WRITE, "inside", O_RDWR);
    drain(mounted);
    close(open("/sys/fs/pstore", O_RDONLY | O_DIRECTORY));
    expect("a directory on a mount", mounted, FAN_OPEN, "pstore", O_RDONLY);
    touch("ignored");
    look("ignored");
    expect("what is not ignored", leaves_out, FAN_CLOSE_NOWRITE, "ignored", O_RDONLY);
    expect("nothing was made", handles, 0, "", -1);
    touch("watched/new");
    mkdir("watched/directory", 0700);
    unlink("watched/new");
    expect("what was made and removed", handles, FAN_CREATE | FAN_DELETE | FAN_ONDIR, "", -1);
    int denied = ask(decides, "decided", FAN_DENY), allowed = ask(decides, "decided", FAN_ALLOW);
    if (denied != EPERM || allowed != 0) wrong("what is denied gives %d, what is allowed %d. ", denied, allowed);
    expect("a group without marks", empty, 0, "", -1);

    FILE *result = fopen("result.new", "w");
    if (*problems) fprintf(result, "wrong: %s\n", problems);
    else fprintf(result, "as it was: %d groups tell of what they watched, and one decides\n", groups);
    fclose(result);
    rename("result.new", "result");
    for (;;) pause();
}
