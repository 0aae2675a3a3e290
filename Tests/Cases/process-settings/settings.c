// A process with descriptors of its child and of itself, the child's in an epoll instance too. Its threads run through all numbers of a generator in registers, with a carry that goes from
// step to step, so that whoever changes a register or a flag of theirs changes the end of it. When the file "go" is there everything is tried out.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { threads = 3, steps = 1 << 14 };

static FILE *result;
static atomic_ulong rounds[threads], wrong_rounds;
static atomic_int is_over;

static void say(const char *name, int is_right) { fprintf(result, "%s %s\n", name, is_right ? "right" : strerror(errno)); }

static void need(int is_true, const char *what) {
    if (is_true) return;
    perror(what);
    _exit(1);
}

// Every register that a system call or the code around it could touch has a part in the sum, and so has the carry flag, from one turn to the next.
static uint64_t turns(uint64_t seed, long count) {
    uint64_t a = seed, b = seed ^ 0x9e3779b97f4a7c15, c = 3, d = 5;
    __asm__ volatile(
        "mov %[seed], %%r8\n mov %[seed], %%r9\n mov %[seed], %%r10\n mov %[seed], %%r11\n clc\n"
        "1: adc %%rdi, %%rax\n adc %%rsi, %%rdi\n adc %%rdx, %%rsi\n adc %%r8, %%rdx\n adc %%r9, %%r8\n adc %%r10, %%r9\n"
        "adc %%r11, %%r10\n adc %%rax, %%r11\n rcl $7, %%rax\n lea -1(%%rcx), %%rcx\n jrcxz 2f\n jmp 1b\n"
        "2: adc %%r8, %%rax\n adc %%r9, %%rax\n adc %%r10, %%rax\n adc %%r11, %%rax\n"
        : "+a"(a), "+D"(b), "+S"(c), "+d"(d), "+c"(count)
        : [seed] "r"(seed * 31)
        : "r8", "r9", "r10", "r11", "cc", "memory");
    return a ^ b ^ c ^ d;
}

static void *compute(void *argument) {
    long number = (long)argument;
    uint64_t expected = turns(number + 1, steps);
    // Only around the crash, for other cases need the processors too.
    while (access("compute", F_OK) != 0) usleep(20000);
    while (!atomic_load(&is_over)) {
        if (turns(number + 1, steps) != expected) atomic_fetch_add(&wrong_rounds, 1);
        atomic_fetch_add(&rounds[number], 1);
    }
    return NULL;
}

// A process with a page that its second protection key lets it read only; its first one is free again. It sleeps until it is asked.
static sigjmp_buf back;
static volatile sig_atomic_t fault;

static void note(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    // SEGV_PKUERR
    fault = info->si_code == 4;
    siglongjmp(back, 1);
}

static void keep_keys(void) {
    int first = pkey_alloc(0, 0), second = pkey_alloc(0, PKEY_DISABLE_WRITE);
    int *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const char *answer = "no-protection-keys right\n";
    sigset_t asked;
    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &asked, NULL);
    int has_keys = first > 0 && second > 0;
    if (has_keys) {
        *page = 77;
        need(pkey_mprotect(page, 4096, PROT_READ | PROT_WRITE, second) == 0 && pkey_free(first) == 0, "protection keys");
    }
    close(open("keys-ready", O_WRONLY | O_CREAT, 0600));
    int number;
    sigwait(&asked, &number);
    if (has_keys) {
        struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_NODEFER};
        sigaction(SIGSEGV, &action, NULL);
        int is_right = *page == 77 && pkey_get(second) == PKEY_DISABLE_WRITE && pkey_alloc(0, 0) == first;
        if (!sigsetjmp(back, 1)) *(volatile int *)page = 78;
        is_right &= fault == 1;
        pkey_set(second, 0);
        *(volatile int *)page = 79;
        answer = is_right && *page == 79 ? "protection-keys right\n" : "protection-keys wrong\n";
    }
    int file = open("keys.new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    need(write(file, answer, strlen(answer)) > 0, "keys");
    rename("keys.new", "keys");
    for (;;) pause();
}

// A process whose handlers never return, and which a timer has run all the time: what it has to set comes before the first of them. It has what only newer kernels
// or some processors know, too.
static void leave(int number) { siglongjmp(back, number); }

static void jump(void) {
    int refuses_gain = prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0) == 0;
    int is_slow = prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0) == 0;
    signal(SIGALRM, leave);
    volatile int jumps = 0;
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 20000}, {0, 20000}}, NULL);
    if (sigsetjmp(back, 1)) jumps++;
    // On a busy processor it may be made to jump before it comes here, more than once.
    if (jumps >= 5) close(open("jumps-ready", O_WRONLY | O_CREAT, 0600));
    while (access("go", F_OK) != 0) pause();
    signal(SIGALRM, SIG_IGN);
    FILE *file = fopen("jumps.new", "w");
    int is_right = personality(0xffffffff) == ADDR_NO_RANDOMIZE && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    fprintf(file, "before-handlers %s\n", is_right ? "right" : "wrong");
    if (refuses_gain) fprintf(file, "memory-deny-write-execute %s\n", prctl(66 /* PR_GET_MDWE */, 0, 0, 0, 0) == 1 ? "right" : "wrong");
    long speculation = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
    if (is_slow) fprintf(file, "speculation %s\n", speculation & PR_SPEC_DISABLE ? "right" : "wrong");
    fclose(file);
    rename("jumps.new", "jumps");
    for (;;) pause();
}

static volatile sig_atomic_t signals;
static void count(int number) { signals += number == SIGUSR1; }

static long locked_kilobytes(void) {
    char line[256];
    long found = -1;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) sscanf(line, "VmLck: %ld", &found);
    if (status) fclose(status);
    return found;
}

int main(void) {
    need(personality(ADDR_NO_RANDOMIZE) != -1, "personality");
    need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
    pid_t child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        signal(SIGUSR1, count);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int told = open("child-ready", O_WRONLY | O_CREAT, 0600);
        close(told);
        while (!signals) usleep(20000);
        close(open("child-told", O_WRONLY | O_CREAT, 0600));
        for (;;) pause();
    }
    pid_t keys = fork();
    need(keys >= 0, "fork");
    if (keys == 0) keep_keys();
    pid_t jumper = fork();
    need(jumper >= 0, "fork");
    if (jumper == 0) jump();
    while (access("child-ready", F_OK) != 0 || access("keys-ready", F_OK) != 0 || access("jumps-ready", F_OK) != 0) usleep(20000);
    need(mlockall(MCL_FUTURE) == 0, "mlockall");
    need(syscall(SYS_membarrier, 1 << 4 /* REGISTER_PRIVATE_EXPEDITED */, 0, 0) == 0, "membarrier");
    int of_child = syscall(SYS_pidfd_open, child, 0), of_self = syscall(SYS_pidfd_open, getpid(), 0);
    need(of_child >= 0 && of_self >= 0, "pidfd_open");
    int kept = fcntl(of_child, F_DUPFD, 100);
    int watch = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1122334455667788};
    need(kept >= 100 && epoll_ctl(watch, EPOLL_CTL_ADD, of_child, &event) == 0, "epoll");
    for (long i = 0; i < threads; i++) {
        pthread_t thread;
        need(pthread_create(&thread, NULL, compute, (void *)i) == 0, "pthread_create");
    }
    close(open("ready", O_WRONLY | O_CREAT, 0600));
    while (!atomic_load(&rounds[threads - 1])) usleep(20000);
    close(open("computing", O_WRONLY | O_CREAT, 0600));
    while (access("go", F_OK) != 0) usleep(20000);

    unsigned long before[threads];
    for (int i = 0; i < threads; i++) before[i] = atomic_load(&rounds[i]);
    result = fopen("result.new", "w");
    say("personality", personality(0xffffffff) == ADDR_NO_RANDOMIZE);
    say("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    long locked = locked_kilobytes();
    void *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("locked-memory", memory != MAP_FAILED && locked_kilobytes() == locked + 1024);
    say("memory-barriers", syscall(SYS_membarrier, 1 << 3 /* PRIVATE_EXPEDITED */, 0, 0) == 0);
    say("close-on-exec", fcntl(of_child, F_GETFD) == FD_CLOEXEC && fcntl(kept, F_GETFD) == 0);
    say("own-pidfd", syscall(SYS_pidfd_send_signal, of_self, 0, NULL, 0) == 0);
    say("not-ended", epoll_wait(watch, &event, 1, 0) == 0);
    say("signal", syscall(SYS_pidfd_send_signal, kept, SIGUSR1, NULL, 0) == 0);
    while (access("child-told", F_OK) != 0) usleep(20000);
    say("kill", syscall(SYS_pidfd_send_signal, of_child, SIGKILL, NULL, 0) == 0);
    event.data.u64 = 0;
    say("epoll", epoll_wait(watch, &event, 1, 30000) == 1 && event.data.u64 == 0x1122334455667788);
    siginfo_t info = {0};
    say("wait", waitid(3 /* P_PIDFD */, of_child, &info, WEXITED) == 0 && info.si_pid == child && info.si_status == SIGKILL);
    int go_on = 1;
    for (int tries = 0; tries < 1500; tries++) {
        go_on = 1;
        for (int i = 0; i < threads; i++) go_on &= atomic_load(&rounds[i]) > before[i];
        if (go_on) break;
        usleep(20000);
    }
    kill(keys, SIGUSR1);
    while (access("keys", F_OK) != 0) usleep(20000);
    while (access("jumps", F_OK) != 0) usleep(20000);
    char line[64] = "";
    for (int i = 0; i < 2; i++) {
        FILE *told = fopen(i ? "jumps" : "keys", "r");
        while (told && fgets(line, sizeof line, told)) fputs(line, result);
        if (told) fclose(told);
    }
    say("threads", go_on && !atomic_load(&wrong_rounds));
    atomic_store(&is_over, 1);
    fclose(result);
    rename("result.new", "result");
    for (;;) pause();
}
