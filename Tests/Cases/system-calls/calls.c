// Starts one child for each call once the file "begin" is there, which writes "result errno seconds" to a file of the call's name when it returns. The calls
// named event-* wait for something that process 0 does once the file "go" exists; those named limit-* have a limit of 60 s.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { limit = 60 };
static int ends[16][2];  // a pipe for each call; process 0 writes one byte to it
static int *word;        // two futexes that all share: one for the event, one for the limit

static struct timespec seconds(int s) { return (struct timespec){.tv_sec = s}; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static long futex(int index, struct timespec *timeout) {
    return syscall(SYS_futex, word + index, FUTEX_WAIT, 0, timeout, NULL, 0);
}

static long event_read(int fd) {
    char byte;
    return read(fd, &byte, 1);
}

static long event_poll(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, -1);
}

static long event_select(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, NULL);
}

static long wait_epoll(int fd, int timeout) {
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    return epoll_wait(epoll, &event, 1, timeout);
}

static long event_epoll(int fd) { return wait_epoll(fd, -1); }

static long event_futex(int fd) {
    (void)fd;
    return futex(0, NULL);
}

static long event_wait4(int fd) {
    pid_t child = fork();
    if (child == 0) {
        char byte;
        _exit(read(fd, &byte, 1) == 1 ? 42 : 1);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 42 ? 1 : -1;
}

static long event_sigwait(int fd) {
    (void)fd;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int number = 0;
    return sigwait(&set, &number) == 0 ? number == SIGUSR1 : -1;
}

static long limit_nanosleep(int fd) {
    (void)fd;
    struct timespec t = seconds(limit);
    return nanosleep(&t, NULL);
}

static long limit_poll(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, limit * 1000);
}

static long limit_select(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    struct timeval t = {.tv_sec = limit};
    return select(fd + 1, &set, NULL, NULL, &t);
}

static long limit_epoll(int fd) { return wait_epoll(fd, limit * 1000); }

static long limit_futex(int fd) {
    (void)fd;
    struct timespec t = seconds(limit);
    return futex(1, &t);
}

static const struct {
    const char *name;
    long (*call)(int fd);
} calls[] = {
    {"event-read", event_read},     {"event-poll", event_poll},   {"event-select", event_select}, {"event-epoll", event_epoll},
    {"event-futex", event_futex},   {"event-wait4", event_wait4}, {"event-sigwait", event_sigwait},
    {"limit-nanosleep", limit_nanosleep}, {"limit-poll", limit_poll}, {"limit-select", limit_select},
    {"limit-epoll", limit_epoll},   {"limit-futex", limit_futex},
};
enum { call_count = sizeof calls / sizeof *calls };

int main(void) {
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t sigwaiter = 0;
    while (access("begin", F_OK) != 0) usleep(20000);
    for (int i = 0; i < call_count; i++) {
        if (pipe(ends[i]) != 0) return 1;
        pid_t child = fork();
        if (calls[i].call == event_sigwait) sigwaiter = child;
        if (child != 0) continue;
        double start = now();
        errno = 0;
        long result = calls[i].call(ends[i][0]);
        int error = result < 0 ? errno : 0;
        double took = now() - start;
        char temporary[64];
        snprintf(temporary, sizeof temporary, "%s.new", calls[i].name);
        FILE *file = fopen(temporary, "w");
        fprintf(file, "%ld %d %.3f\n", result, error, took);
        fclose(file);
        rename(temporary, calls[i].name);
        for (;;) pause();
    }
    while (access("go", F_OK) != 0) usleep(20000);
    for (int i = 0; i < call_count; i++)
        if (strncmp(calls[i].name, "event", 5) == 0 && write(ends[i][1], "x", 1) != 1) return 1;
    *word = 1;
    syscall(SYS_futex, word, FUTEX_WAKE, 100, NULL, NULL, 0);
    kill(sigwaiter, SIGUSR1);
    for (;;) pause();
}
