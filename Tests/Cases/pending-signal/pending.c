// Blocks SIGUSR1, SIGUSR2 and SIGRTMIN+3, has them pending, and lets them in when the file "go" appears. Each handler call is
// a line "signal code pid uid value thread"; the thread is 0 for the first one and 1 for the second.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t count;
static siginfo_t seen[8];
static int thread_of[8];
static __thread int thread_index;

static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    int place = __sync_fetch_and_add(&count, 1);
    if (place >= 8) return;
    seen[place] = *info;
    thread_of[place] = thread_index;
}

static void wait_for_go(void) {
    while (access("go", F_OK) != 0) usleep(20000);
}

static void *second(void *ready) {
    thread_index = 1;
    syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), SIGUSR2);
    *(volatile int *)ready = 1;
    wait_for_go();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return NULL;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigset_t set;
    sigemptyset(&set);
    int signals[] = {SIGUSR1, SIGUSR2, SIGRTMIN + 3};
    for (int i = 0; i < 3; i++) {
        sigaction(signals[i], &action, NULL);
        sigaddset(&set, signals[i]);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
    volatile int is_ready = 0;
    pthread_t thread;
    if (pthread_create(&thread, NULL, second, (void *)&is_ready) != 0) return 1;
    while (!is_ready) usleep(1000);
    sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 4711});
    sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 4712});
    close(open("ready", O_WRONLY | O_CREAT, 0644));
    wait_for_go();
    pthread_join(thread, NULL);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    FILE *result = fopen("result.new", "w");
    for (int i = 0; i < count && i < 8; i++) {
        int is_queued = seen[i].si_code == SI_QUEUE;
        fprintf(result, "%d %d %d %d %d %d\n", seen[i].si_signo, seen[i].si_code, (int)seen[i].si_pid, (int)seen[i].si_uid,
                is_queued ? seen[i].si_value.sival_int : 0, thread_of[i]);
    }
    fclose(result);
    rename("result.new", "result");
    for (;;) pause();
}
