// A parent with children of many kinds; when the file "go" is there, it makes each of them show that the kernel still knows what it is. "result" has a line for
// each: its name, and "right" or what was found instead.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// What the processes tell each other: 0 until it is known.
struct shared {
    pthread_mutex_t mutex;
    volatile int is_locked, was_told, orphan, answers[4];
};
static struct shared *shared;
static FILE *result;

static void tell(const char *name, int is_right, long found) {
    if (is_right) fprintf(result, "%s right\n", name);
    else fprintf(result, "%s is %ld\n", name, found);
}

static void wait_for(volatile int *what) {
    for (int tries = 0; *what == 0 && tries < 1000; tries++) usleep(20000);
}

static void wait_for_go(void) {
    while (access("go", F_OK) != 0) usleep(20000);
}

static pid_t child(void (*work)(void)) {
    pid_t pid = fork();
    if (pid < 0) exit(2);
    if (pid == 0) {
        work();
        _exit(0);
    }
    return pid;
}

static void ends(void) { _exit(7); }
static void is_killed(void) { raise(SIGKILL); }

static void orphan(void) {
    shared->orphan = getpid();
    wait_for_go();
    shared->answers[0] = getppid();
    for (;;) pause();
}
static void leaves_an_orphan(void) { child(orphan); }

static void on_death(int number) { shared->was_told = number; }
static void survivor(void) {
    signal(SIGUSR1, on_death);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    shared->answers[1] = 1;
    for (;;) pause();
}
static void mortal(void) {
    child(survivor);
    for (;;) pause();
}

static void holder(void) {
    pthread_mutex_lock(&shared->mutex);
    shared->is_locked = 1;
    for (;;) pause();
}

// getppid fails with the error 77.
static void filtered(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 77),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof program[0], program};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) _exit(2);
    shared->answers[2] = -1;
    wait_for_go();
    shared->answers[2] = syscall(SYS_getppid) == -1 ? errno : 1;
    for (;;) pause();
}

static void secured(void) {
    prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED);
    prctl(PR_SET_DUMPABLE, 0);
    shared->answers[3] = -1;
    wait_for_go();
    shared->answers[3] = 1000 + prctl(PR_GET_SECUREBITS) * 10 + prctl(PR_GET_DUMPABLE);
    for (;;) pause();
}

static pthread_t threads[3];
static volatile int thread_is[3], thread_was[3];
static void *named(void *number) {
    long i = (long)number;
    char name[16], found[16] = "";
    snprintf(name, sizeof name, "thread %ld", i);
    prctl(PR_SET_NAME, name);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGRTMIN + (int)i);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    thread_was[i] = 1;
    wait_for_go();
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    prctl(PR_GET_NAME, found);
    int is_right = strcmp(name, found) == 0;
    for (int signal = 0; signal < 3; signal++) is_right &= sigismember(&mask, SIGRTMIN + signal) == (signal == i);
    thread_is[i] = is_right ? 1 : 2;
    return NULL;
}

int main(void) {
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->mutex, &attributes);
    prctl(PR_SET_CHILD_SUBREAPER, 1);

    pid_t ended = child(ends), killed = child(is_killed), mother = child(leaves_an_orphan), dies = child(mortal);
    pid_t holds = child(holder);
    child(filtered);
    child(secured);
    waitpid(mother, NULL, 0);
    wait_for(&shared->is_locked);
    wait_for(&shared->orphan);
    for (int i = 1; i < 4; i++) wait_for(&shared->answers[i]);
    for (long i = 0; i < 3; i++) pthread_create(&threads[i], NULL, named, (void *)i);
    for (int i = 0; i < 3; i++) wait_for(&thread_was[i]);
    siginfo_t information;
    waitid(P_PID, ended, &information, WEXITED | WNOWAIT);
    waitid(P_PID, killed, &information, WEXITED | WNOWAIT);
    close(open("ready", O_WRONLY | O_CREAT, 0600));

    wait_for_go();
    result = fopen("result.new", "w");
    int status = 0;
    pid_t pid = waitpid(ended, &status, 0);
    tell("zombie", pid == ended && WIFEXITED(status) && WEXITSTATUS(status) == 7, status);
    pid = waitpid(killed, &status, 0);
    tell("killed-zombie", pid == killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, status);
    wait_for(&shared->answers[0]);
    tell("orphan", shared->answers[0] == getpid(), shared->answers[0]);
    int is_subreaper = 0;
    prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper);
    tell("subreaper", is_subreaper == 1, is_subreaper);
    kill(dies, SIGKILL);
    wait_for(&shared->was_told);
    tell("death-signal", shared->was_told == SIGUSR1, shared->was_told);
    kill(holds, SIGKILL);
    waitpid(holds, NULL, 0);
    int lock = pthread_mutex_trylock(&shared->mutex);
    tell("robust-mutex", lock == EOWNERDEAD, lock);
    for (int tries = 0; shared->answers[2] == -1 && tries < 1000; tries++) usleep(20000);
    tell("seccomp", shared->answers[2] == 77, shared->answers[2]);
    for (int tries = 0; shared->answers[3] == -1 && tries < 1000; tries++) usleep(20000);
    int bits = SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED;
    tell("securebits-and-dumpable", shared->answers[3] == 1000 + bits * 10, shared->answers[3]);
    for (int i = 0; i < 3; i++) {
        wait_for(&thread_is[i]);
        char name[16];
        snprintf(name, sizeof name, "thread-%d", i);
        tell(name, thread_is[i] == 1, thread_is[i]);
    }
    fclose(result);
    rename("result.new", "result");
    for (;;) pause();
}
