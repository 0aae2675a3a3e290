// Each thread descends through 64 stack frames with a filled array each; at the bottom, an assembly loop of about a quarter of a second
// adds constants to vector registers and touches no memory. What the registers hold afterwards has a closed form, so a register
// that was lost anywhere in the loop shows. Frames are verified on the way up, then the next round begins.
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <xmmintrin.h>

enum kind { sse, avx, avx512 };
static const char *const names[] = {"sse", "avx", "avx512"};

struct worker {
    enum kind kind;
    int index;
    atomic_int tid;
    atomic_ulong rounds, errors;
};

static struct worker workers[8];
static int worker_count;
static __thread struct worker *self;  // reached through the FS base

// What the accumulators hold before the loop, what is added to each in each turn, and what they hold after it. Row i is of
// accumulator i; a narrower register uses the first lanes of its row.
struct lanes {
    uint64_t start[16][8], step[16][8], end[16][8];
} __attribute__((aligned(64)));

#define EACH8(m) m(0, 8) m(1, 9) m(2, 10) m(3, 11) m(4, 12) m(5, 13) m(6, 14) m(7, 15)
#define EACH16(m)                                                                                                              \
    m(0, 16) m(1, 17) m(2, 18) m(3, 19) m(4, 20) m(5, 21) m(6, 22) m(7, 23) m(8, 24) m(9, 25) m(10, 26) m(11, 27) m(12, 28)    \
        m(13, 29) m(14, 30) m(15, 31)
#define LINE(text) text "\n\t"

// xmm0-7 accumulate, xmm8-15 are the increments.
static void loop_sse(struct lanes *l, uint64_t n) {
#define LOAD(a, s) LINE("movdqa " #a "*64(%[start]), %%xmm" #a) LINE("movdqa " #a "*64(%[step]), %%xmm" #s)
#define ADD(a, s) LINE("paddq %%xmm" #s ", %%xmm" #a)
#define SAVE(a, s) LINE("movdqa %%xmm" #a ", " #a "*64(%[end])")
    __asm__ volatile(EACH8(LOAD) LINE("1:") EACH8(ADD) LINE("dec %[n]") LINE("jnz 1b") EACH8(SAVE)
                     : [n] "+r"(n)
                     : [start] "r"(l->start), [step] "r"(l->step), [end] "r"(l->end)
                     : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#undef LOAD
#undef ADD
#undef SAVE
}

// ymm0-7 accumulate, ymm8-15 are the increments.
__attribute__((target("avx2"))) static void loop_avx(struct lanes *l, uint64_t n) {
#define LOAD(a, s) LINE("vmovdqa " #a "*64(%[start]), %%ymm" #a) LINE("vmovdqa " #a "*64(%[step]), %%ymm" #s)
#define ADD(a, s) LINE("vpaddq %%ymm" #s ", %%ymm" #a ", %%ymm" #a)
#define SAVE(a, s) LINE("vmovdqa %%ymm" #a ", " #a "*64(%[end])")
    __asm__ volatile(EACH8(LOAD) LINE("1:") EACH8(ADD) LINE("dec %[n]") LINE("jnz 1b") EACH8(SAVE) LINE("vzeroupper")
                     : [n] "+r"(n)
                     : [start] "r"(l->start), [step] "r"(l->step), [end] "r"(l->end)
                     : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#undef LOAD
#undef ADD
#undef SAVE
}

// zmm0-15 accumulate, zmm16-31 are the increments, k1 masks the additions (all lanes) and k7 holds a pattern.
__attribute__((target("avx512f"))) static uint64_t loop_avx512(struct lanes *l, uint64_t n) {
    uint64_t mask = 0;
#define LOAD(a, s) LINE("vmovdqa64 " #a "*64(%[start]), %%zmm" #a) LINE("vmovdqa64 " #a "*64(%[step]), %%zmm" #s)
#define ADD(a, s) LINE("vpaddq %%zmm" #s ", %%zmm" #a ", %%zmm" #a "%{%%k1%}")
#define SAVE(a, s) LINE("vmovdqa64 %%zmm" #a ", " #a "*64(%[end])")
    __asm__ volatile(LINE("movl $0xffff, %%eax") LINE("kmovw %%eax, %%k1") LINE("movl $0xa53c, %%eax") LINE("kmovw %%eax, %%k7")
                         EACH16(LOAD) LINE("1:") EACH16(ADD) LINE("dec %[n]") LINE("jnz 1b") EACH16(SAVE)
                             LINE("kmovw %%k7, %%eax") LINE("movq %%rax, %[mask]") LINE("vzeroupper")
                     : [n] "+r"(n), [mask] "=&r"(mask)
                     : [start] "r"(l->start), [step] "r"(l->step), [end] "r"(l->end)
                     : "memory", "cc", "rax", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20",
                       "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1",
                       "k7");
#undef LOAD
#undef ADD
#undef SAVE
    return mask;
}

static uint64_t mix(uint64_t x) {
    x ^= x >> 31;
    x *= 0x9e3779b97f4a7c15;
    return x ^ x >> 29;
}

static void run_loop(uint64_t turns, uint64_t seed) {
    struct lanes l;
    for (int row = 0; row < 16; row++)
        for (int lane = 0; lane < 8; lane++) {
            l.start[row][lane] = mix(seed + row * 8 + lane);
            l.step[row][lane] = mix(seed + 1000 + row * 8 + lane);
        }
    memset(l.end, 0, sizeof l.end);
    int rows = self->kind == avx512 ? 16 : 8, width = self->kind == sse ? 2 : self->kind == avx ? 4 : 8;

    // Rounding towards zero in MXCSR and in the x87 control word, and a value that lives only on the x87 stack.
    _mm_setcsr((_mm_getcsr() & ~0x6000u) | 0x6000u);
    uint16_t control = 0x0f7f, control_after = 0;
    double constant = 1.0 / 3 + self->index, constant_after = 0;
    __asm__ volatile("fldcw %0\n\tfldl %1" ::"m"(control), "m"(constant));
    uint64_t mask = 0xa53c;
    switch (self->kind) {
        case sse: loop_sse(&l, turns); break;
        case avx: loop_avx(&l, turns); break;
        case avx512: mask = loop_avx512(&l, turns); break;
    }
    __asm__ volatile("fstpl %0\n\tfnstcw %1" : "=m"(constant_after), "=m"(control_after));

    unsigned long errors = mask != 0xa53c;
    errors += control_after != control || memcmp(&constant, &constant_after, sizeof constant) != 0;
    errors += (_mm_getcsr() & 0x6000u) != 0x6000u;
    for (int row = 0; row < rows; row++)
        for (int lane = 0; lane < width; lane++)
            errors += l.end[row][lane] != l.start[row][lane] + turns * l.step[row][lane];
    self->errors += errors;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

__attribute__((noinline)) static void descend(int depth, uint64_t turns, uint64_t seed) {
    volatile uint64_t frame[32];
    for (int i = 0; i < 32; i++) frame[i] = mix(seed + depth * 32 + i);
    if (depth > 0) descend(depth - 1, turns, seed);
    else run_loop(turns, seed);
    for (int i = 0; i < 32; i++) self->errors += frame[i] != mix(seed + depth * 32 + i);
}

static void *work(void *argument) {
    self = argument;
    self->tid = (int)syscall(SYS_gettid);
    uint64_t turns = 1 << 16;
    for (uint64_t seed = self->index;; seed += 100) {
        double start = now();
        descend(64, turns, seed);
        if (now() - start < 0.25 && turns < 1ull << 40) turns *= 2;
        self->rounds++;
    }
    return NULL;
}

static void add_worker(enum kind kind) {
    struct worker *w = &workers[worker_count];
    w->kind = kind;
    w->index = ++worker_count;
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, w) != 0) _exit(1);
}

int main(void) {
    int state = open("state", O_RDWR | O_CREAT | O_EXCL, 0644);
    add_worker(sse);
    add_worker(sse);
    if (__builtin_cpu_supports("avx2")) add_worker(avx), add_worker(avx);
    if (__builtin_cpu_supports("avx512f")) add_worker(avx512);
    for (;;) {
        char text[1024];
        int length = snprintf(text, sizeof text, "%d", getpid());
        for (int i = 0; i < worker_count; i++)
            length += snprintf(text + length, sizeof text - length, " %s:%d:%lu:%lu", names[workers[i].kind], workers[i].tid,
                               workers[i].rounds, workers[i].errors);
        memset(text + length, ' ', sizeof text - length);
        text[sizeof text - 1] = '\n';
        if (pwrite(state, text, sizeof text, 0) != sizeof text) return 1;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}
