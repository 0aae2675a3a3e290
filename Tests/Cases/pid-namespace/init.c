// Process 1 of a pid namespace of its own, in a session of its own, adopts and reaps. Its child, process 2, counts and has a thread; a
// grandchild whose parent is dead has been adopted, and a zombie waits to be reaped. All ids are as the namespace gave them.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int state, pipes[2];
static volatile uint64_t turns;
static volatile pid_t thread_id;
static long errors;

static void rest(void) { nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); }

static void report(uint64_t count, int verified) {
    char line[65];
    snprintf(line, sizeof line, "%d %lu %ld %d", getpid(), count, errors, verified);
    size_t length = strlen(line);
    memset(line + length, ' ', sizeof line - length);
    line[63] = '\n';
    if (pwrite(state, line, 64, 0) != 64) _exit(4);
}

static void *turn(void *unused) {
    (void)unused;
    thread_id = gettid();
    for (;;) {
        if (gettid() != thread_id) errors++;
        turns++;
        rest();
    }
    return NULL;
}

// Leaves an orphan that tells its ids through the pipe when it is asked to by SIGUSR1.
static void leave_orphan(void) {
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0) {
            prctl(PR_SET_NAME, "orphan");
            setsid();
            sigset_t mask;
            sigemptyset(&mask);
            sigaddset(&mask, SIGUSR1);
            sigprocmask(SIG_BLOCK, &mask, NULL);
            // Once process 1 has adopted it.
            while (getppid() != 1) rest();
            for (int number;;) {
                pid_t ids[4] = {getpid(), getppid(), getsid(0), getpgrp()};
                if (write(pipes[1], ids, sizeof ids) != sizeof ids) _exit(5);
                sigwait(&mask, &number);
            }
        }
        _exit(0);
    }
    waitpid(middle, NULL, 0);
}

// Both ends of a TCP connection over loopback, with bytes under way.
static void connect_ends(int ends[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 || connect(ends[0], (struct sockaddr *)&address, size) != 0)
        _exit(8);
    ends[1] = accept(listener, NULL, NULL);
    if (ends[1] < 0 || close(listener) != 0 || write(ends[0], "before", 6) != 6) _exit(9);
}

static int connection_goes_on(const int ends[2]) {
    char bytes[32];
    return write(ends[0], " and after", 10) == 10 && recv(ends[1], bytes, 16, MSG_WAITALL) == 16 && memcmp(bytes, "before and after", 16) == 0 &&
        write(ends[1], "answer", 6) == 6 && recv(ends[0], bytes, 6, MSG_WAITALL) == 6 && memcmp(bytes, "answer", 6) == 0;
}

static void count(void) {
    int ends[2];
    prctl(PR_SET_NAME, "counter");
    pthread_t thread;
    connect_ends(ends);
    leave_orphan();
    pid_t orphan[4], again[4];
    if (read(pipes[0], orphan, sizeof orphan) != sizeof orphan) _exit(6);
    errors += orphan[1] != 1 || orphan[2] != orphan[0] || orphan[3] != orphan[0];
    pid_t zombie = fork();
    if (zombie == 0) _exit(42);
    siginfo_t info;
    if (waitid(P_PID, zombie, &info, WEXITED | WNOWAIT) != 0) _exit(7);
    pthread_create(&thread, NULL, turn, NULL);
    while (thread_id == 0) rest();
    pid_t tid = thread_id;
    int verified = 0;
    for (uint64_t number = 1;; number++) {
        errors += getpid() != 2 || getppid() != 1 || getsid(0) != 1 || getpgrp() != 1 || thread_id != tid;
        if (!verified && access("go", F_OK) == 0) {
            int status;
            if (kill(orphan[0], SIGUSR1) != 0 || read(pipes[0], again, sizeof again) != sizeof again) errors++;
            else errors += memcmp(orphan, again, sizeof orphan) != 0;
            errors += waitpid(zombie, &status, 0) != zombie || !WIFEXITED(status) || WEXITSTATUS(status) != 42;
            errors += !connection_goes_on(ends);
            uint64_t before = turns;
            for (int i = 0; i < 500 && turns == before; i++) rest();
            errors += turns == before;
            // Process 1 reaps whom it adopts: then there is nobody of that id.
            if (kill(orphan[0], SIGKILL) != 0) errors++;
            int gone = 0;
            for (int i = 0; i < 500 && !gone; i++) {
                gone = kill(orphan[0], 0) != 0 && errno == ESRCH;
                if (!gone) rest();
            }
            errors += !gone;
            verified = 1;
        }
        report(number, verified);
        rest();
    }
}

int main(void) {
    state = open("state", O_RDWR | O_CREAT | O_EXCL, 0644);
    if (unshare(CLONE_NEWPID) != 0) return 1;
    pid_t init = fork();
    if (init != 0) return init > 0 ? 0 : 1;
    setsid();
    prctl(PR_SET_NAME, "namespace-init");
    if (getpid() != 1 || pipe(pipes) != 0) return 1;
    if (fork() == 0) count();
    for (;;)
        if (wait(NULL) < 0) rest();
}
