// Children that change names, each in a directory of its own, and start children of their own: every call must do what it says, once.
// Each counts rounds, and keeps the first call that failed, in shared memory. For the sake of the other cases each rests nine times as
// long as a round took.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { kinds = 6 };
static struct {
    atomic_ulong rounds;
    atomic_int failed;
    char text[60];
} *counts;
static int kind;

static void expect(int holds, const char *call) {
    if (holds || counts[kind].failed) return;
    snprintf(counts[kind].text, sizeof counts[kind].text, "%s: %s", call, strerror(errno));
    counts[kind].failed = 1;
}

static void files(const char *name) {
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    expect(fd >= 0, "open");
    expect(close(fd) == 0, "close");
    expect(unlink(name) == 0, "unlink");
}

static void directories(void) {
    expect(mkdir("d", 0700) == 0, "mkdir");
    expect(rmdir("d") == 0, "rmdir");
}

static void renames(void) {
    static char bytes[20000];
    int fd = open("new", O_WRONLY | O_CREAT | O_EXCL, 0600);
    expect(fd >= 0, "open");
    expect(write(fd, bytes, sizeof bytes) == sizeof bytes, "write");
    expect(close(fd) == 0, "close");
    expect(rename("new", "old") == 0, "rename");
}

static void links(int fd) {
    expect(linkat(fd, "a", fd, "b", 0) == 0, "link");
    expect(symlinkat("a", fd, "s") == 0, "symlink");
    expect(renameat(fd, "s", fd, "t") == 0, "rename");
    expect(unlinkat(fd, "b", 0) == 0, "unlinkat");
    expect(unlinkat(fd, "t", 0) == 0, "unlinkat");
}

static void children(void) {
    int parent = getpid();
    pid_t child = fork();
    if (child == 0) _exit(getppid() == parent ? 7 : 1);
    int status;
    expect(child > 0, "fork");
    expect(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7, "wait");
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void rest(long long since) {
    long long length = 9 * (now() - since);
    struct timespec time = {length / 1000000000, length % 1000000000};
    if (length > 0 && time.tv_sec < 5) nanosleep(&time, NULL);
}

static void work(const char *home) {
    char name[20], path[4096];
    snprintf(name, sizeof name, "dir%d", kind);
    if (mkdir(name, 0700) != 0 || chdir(name) != 0) _exit(1);
    snprintf(path, sizeof path, "%s/%s/f", home, name);
    close(open("a", O_WRONLY | O_CREAT, 0600));
    int fd = open(".", O_RDONLY | O_DIRECTORY);
    for (;;) {
        long long start = now();
        switch (kind) {
        case 0: files("f"); break;
        case 1: files(path); break;
        case 2: directories(); break;
        case 3: renames(); break;
        case 4: links(fd); break;
        default: children();
        }
        counts[kind].rounds++;
        rest(start);
    }
}

int main(void) {
    char home[4000];
    counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int state = open("state", O_RDWR | O_CREAT | O_EXCL, 0644);
    if (!getcwd(home, sizeof home) || state < 0) return 1;
    for (kind = 0; kind < kinds; kind++)
        if (fork() == 0) work(home);
    for (;;) {
        char lines[kinds][100];
        for (int i = 0; i < kinds; i++) {
            memset(lines[i], ' ', sizeof lines[i]);
            int length = snprintf(lines[i], sizeof lines[i], "%d %lu %s", getpid(), counts[i].rounds,
                                  counts[i].failed ? counts[i].text : "ok");
            lines[i][length] = ' ';
            lines[i][99] = '\n';
        }
        if (pwrite(state, lines, sizeof lines, 0) != sizeof lines) return 1;
        usleep(100000);
    }
}
