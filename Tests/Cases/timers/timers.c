// Sets timers once the file "begin" is there, and keeps the file "state": how often each has fired, after how many seconds of its clock it did so first, and
// whether it came as it should. Some processor time is used for those that count it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { monotonic, realtime, boottime, thread, periodic, kinds };
static const char *names[kinds] = {"monotonic", "realtime", "boottime", "thread", "periodic"};
static const clockid_t clocks[kinds] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC};
static volatile int count[kinds], right[kinds], interval[3];
static volatile double begin[kinds], first[kinds];
static volatile pid_t second;
// Of the timer descriptors: how often they fired, and when the first one did.
static volatile int descriptor, repeating;
static volatile uint64_t descriptor_count, repeats;
static volatile double descriptor_begin, descriptor_first;

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void on_timer(int number, siginfo_t *info, void *context) {
    int kind = number - SIGRTMIN;
    if (count[kind] == 0) {
        first[kind] = now(clocks[kind]) - begin[kind];
        pid_t self = syscall(SYS_gettid);
        right[kind] = info->si_code == SI_TIMER && info->si_value.sival_int == 4242 + kind && (kind != thread || self == second);
    }
    count[kind]++;
}

static void on_interval(int number) { interval[number == SIGALRM ? 0 : number == SIGVTALRM ? 1 : 2]++; }

static void *second_thread(void *unused) {
    second = syscall(SYS_gettid);
    for (;;) pause();
    return unused;
}

// The main thread may have to wait for the disk when they fire, these for nothing else.
static void *read_once(void *unused) {
    uint64_t expirations;
    while (descriptor == 0) usleep(20000);
    while (read(descriptor, &expirations, sizeof expirations) == sizeof expirations) {
        descriptor_first = now(CLOCK_MONOTONIC) - descriptor_begin;
        descriptor_count += expirations;
    }
    return unused;
}

static void *read_often(void *unused) {
    uint64_t expirations;
    while (descriptor == 0) usleep(20000);
    while (read(repeating, &expirations, sizeof expirations) == sizeof expirations) repeats += expirations;
    return unused;
}

static timer_t set(int kind, clockid_t clock, int notify, double seconds, double every, int flags) {
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = SIGRTMIN + kind, .sigev_value.sival_int = 4242 + kind};
    if (notify == SIGEV_THREAD_ID) event._sigev_un._tid = second;
    struct itimerspec time = {0};
    timer_t timer;
    if (timer_create(clock, &event, &timer) != 0) exit(2);
    double start = now(clock), at = seconds + (flags & TIMER_ABSTIME ? start : 0);
    if (kind < kinds) begin[kind] = start;
    time.it_value.tv_sec = at;
    time.it_value.tv_nsec = (at - time.it_value.tv_sec) * 1e9;
    time.it_interval.tv_nsec = every * 1e9;
    if (timer_settime(timer, flags, &time, NULL) != 0) exit(2);
    return timer;
}

int main(void) {
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
    for (int i = 0; i < kinds; i++) sigaction(SIGRTMIN + i, &action, NULL);
    struct sigaction simple = {.sa_handler = on_interval, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &simple, NULL);
    sigaction(SIGVTALRM, &simple, NULL);
    sigaction(SIGPROF, &simple, NULL);
    pthread_t other;
    pthread_create(&other, NULL, second_thread, NULL);
    pthread_create(&other, NULL, read_once, NULL);
    pthread_create(&other, NULL, read_often, NULL);
    while (second == 0 || access("begin", F_OK) != 0) usleep(20000);

    set(monotonic, CLOCK_MONOTONIC, SIGEV_SIGNAL, 60, 0, 0);
    set(realtime, CLOCK_REALTIME, SIGEV_SIGNAL, 60, 0, TIMER_ABSTIME);
    set(boottime, CLOCK_BOOTTIME, SIGEV_SIGNAL, 60, 0, 0);
    set(thread, CLOCK_MONOTONIC, SIGEV_THREAD_ID, 60, 0, 0);
    set(periodic, CLOCK_MONOTONIC, SIGEV_SIGNAL, 0.1, 0.1, 0);
    double silent_begin = now(CLOCK_MONOTONIC);
    timer_t silent = set(kinds, CLOCK_MONOTONIC, SIGEV_NONE, 1000, 0, 0);
    // By its signal the process would end.
    timer_t processor = set(kinds, CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, 1000, 0, 0);
    struct itimerval every = {{0, 300000}, {0, 300000}}, of_cpu = {{0, 50000}, {0, 50000}};
    setitimer(ITIMER_REAL, &every, NULL);
    setitimer(ITIMER_VIRTUAL, &of_cpu, NULL);
    setitimer(ITIMER_PROF, &of_cpu, NULL);
    int first_descriptor = timerfd_create(CLOCK_MONOTONIC, 0);
    repeating = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec once = {{0, 0}, {60, 0}}, often = {{0, 200000000}, {0, 200000000}};
    descriptor_begin = now(CLOCK_MONOTONIC);
    timerfd_settime(first_descriptor, 0, &once, NULL);
    timerfd_settime(repeating, 0, &often, NULL);
    descriptor = first_descriptor;

    for (;;) {
        double busy_until = now(CLOCK_PROCESS_CPUTIME_ID) + 0.005;
        while (now(CLOCK_PROCESS_CPUTIME_ID) < busy_until) {
            for (volatile int i = 0; i < 1000; i++) continue;
        }
        FILE *file = fopen("state.new", "w");
        for (int i = 0; i < kinds; i++) fprintf(file, "%s %d %.3f %s\n", names[i], count[i], first[i], right[i] ? "right" : "wrong");
        fprintf(file, "real %d\nvirtual %d\nprof %d\n", interval[0], interval[1], interval[2]);
        fprintf(file, "descriptor %lu %.3f right\ndescriptor-periodic %lu\n", descriptor_count, descriptor_first, repeats);
        struct itimerspec left;
        timer_gettime(silent, &left);
        double passed = 1000 - (left.it_value.tv_sec + left.it_value.tv_nsec / 1e9), off = now(CLOCK_MONOTONIC) - silent_begin - passed;
        fprintf(file, "silent 0 %.3f\n", off < 0 ? -off : off);
        timer_gettime(processor, &left);
        fprintf(file, "processor 0 %ld\n", (long)left.it_value.tv_sec);
        fclose(file);
        rename("state.new", "state");
        usleep(50000);
    }
}
