// Fills memory in many ways, forks, and verifies all of it in parent and child when the file "go" is there. "result" has a line
// with the number of damaged words for each area and process.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1ul << 20)
enum { page = 4096 };

static uint64_t value(uint64_t area, uint64_t index) { return (area + 1) * 0x9e3779b97f4a7c15 ^ index * 0xc2b2ae3d27d4eb4f; }

static void fill(uint64_t *start, size_t bytes, uint64_t area) {
    for (size_t i = 0; i < bytes / 8; i++) start[i] = value(area, i);
}

static unsigned long damage(const uint64_t *start, size_t bytes, uint64_t area) {
    unsigned long count = 0;
    for (size_t i = 0; i < bytes / 8; i++) count += start[i] != value(area, i);
    return count;
}

static unsigned long nonzero(const char *start, size_t bytes) {
    unsigned long count = 0;
    for (size_t i = 0; i < bytes; i++) count += start[i] != 0;
    return count;
}

static char *map(size_t bytes) {
    char *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) _exit(1);
    return start;
}

static sigjmp_buf after_fault;
static void on_fault(int number) { siglongjmp(after_fault, number); }

// Whether an access to the address faults, as it must.
static int faults(volatile char *address, int write_it) {
    if (sigsetjmp(after_fault, 1) != 0) return 1;
    if (write_it) *address = 1;
    else (void)*address;
    return 0;
}

static char *heap, *huge, *cow, *file_map, *guard, *readonly, *holed, *given_back, *locked, *code, *untouched;

static void verify(const char *name, FILE *result, int is_child) {
    fprintf(result, "%s heap %lu\n", name, damage((uint64_t *)heap, 3 * MIB, 1));
    fprintf(result, "%s huge %lu\n", name, damage((uint64_t *)huge, 4 * MIB, 2));
    // The child has written the second half after the fork, the parent the first quarter.
    fprintf(result, "%s cow %lu\n", name,
            is_child ? damage((uint64_t *)cow, MIB, 3) + damage((uint64_t *)(cow + MIB), MIB, 103)
                     : damage((uint64_t *)cow, MIB / 2, 203) + damage((uint64_t *)(cow + MIB), MIB, 33));
    unsigned long wrong = 0;
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < page; j++) wrong += file_map[i * page + j] != (char)(i % 3 == 0 ? 'w' : 'a' + i % 26);
    fprintf(result, "%s file %lu\n", name, wrong);
    fprintf(result, "%s guard %d %lu %lu\n", name, faults(guard + page, 0), damage((uint64_t *)guard, page, 5),
            damage((uint64_t *)(guard + 2 * page), page, 6));
    fprintf(result, "%s readonly %lu %d\n", name, damage((uint64_t *)readonly, 4 * page, 7), faults(readonly, 1));
    fprintf(result, "%s hole %lu %lu %d\n", name, damage((uint64_t *)holed, MIB, 8),
            damage((uint64_t *)(holed + 2 * MIB), MIB, 9), faults(holed + MIB + page, 0));
    fprintf(result, "%s given-back %lu %lu\n", name, damage((uint64_t *)given_back, page, 10),
            nonzero(given_back + page, MIB - page));
    fprintf(result, "%s locked %lu\n", name, damage((uint64_t *)locked, 8 * page, 11));
    fprintf(result, "%s code %d\n", name, ((int (*)(void))code)());
    fprintf(result, "%s untouched %lu\n", name, nonzero(untouched, 16 * MIB));
}

static void wait_and_verify(const char *name, int is_child) {
    while (access("go", F_OK) != 0) usleep(20000);
    char temporary[64];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    FILE *result = fopen(temporary, "w");
    verify(name, result, is_child);
    fclose(result);
    rename(temporary, name);
    for (;;) pause();
}

// 2 MiB of stack in 512 frames.
__attribute__((noinline)) static unsigned long deep(int depth, void (*at_bottom)(void)) {
    volatile uint64_t frame[page / 8];
    for (int i = 0; i < page / 8; i++) frame[i] = value(50 + (uint64_t)depth, (uint64_t)i);
    unsigned long wrong = 0;
    if (depth > 0) wrong = deep(depth - 1, at_bottom);
    else at_bottom();
    for (int i = 0; i < page / 8; i++) wrong += frame[i] != value(50 + (uint64_t)depth, (uint64_t)i);
    return wrong;
}

static void wait_for_stack(void) {
    close(open("ready", O_WRONLY | O_CREAT, 0600));
    while (access("go", F_OK) != 0) usleep(20000);
}

int main(void) {
    struct sigaction action = {.sa_handler = on_fault};
    sigaction(SIGSEGV, &action, NULL);
    heap = malloc(3 * MIB);
    fill((uint64_t *)heap, 3 * MIB, 1);
    // Brk memory too, in small pieces.
    for (int i = 0; i < 1000; i++) memset(malloc(64), 1, 64);

    char *area = map(8 * MIB);
    huge = (char *)(((uintptr_t)area + 2 * MIB - 1) & ~(2 * MIB - 1));
    madvise(huge, 4 * MIB, MADV_HUGEPAGE);
    fill((uint64_t *)huge, 4 * MIB, 2);

    cow = map(2 * MIB);
    fill((uint64_t *)cow, MIB, 3);
    fill((uint64_t *)(cow + MIB), MIB, 33);

    int file = open("mapped", O_RDWR | O_CREAT | O_EXCL, 0644);
    for (int i = 0; i < 64; i++) {
        char text[page];
        memset(text, 'a' + i % 26, page);
        if (write(file, text, page) != page) return 1;
    }
    file_map = mmap(NULL, 64 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    close(file);
    for (int i = 0; i < 64; i += 3) memset(file_map + i * page, 'w', page);

    guard = map(3 * page);
    fill((uint64_t *)guard, page, 5);
    fill((uint64_t *)(guard + 2 * page), page, 6);
    mprotect(guard + page, page, PROT_NONE);

    readonly = map(4 * page);
    fill((uint64_t *)readonly, 4 * page, 7);
    mprotect(readonly, 4 * page, PROT_READ);

    given_back = map(MIB);
    fill((uint64_t *)given_back, MIB, 10);
    madvise(given_back + page, MIB - page, MADV_DONTNEED);

    locked = map(8 * page);
    fill((uint64_t *)locked, 8 * page, 11);
    mlock(locked, 8 * page);

    code = map(page);
    memcpy(code, "\xb8\x2a\x00\x00\x00\xc3", 6);  // mov $42, %eax; ret
    mprotect(code, page, PROT_READ | PROT_EXEC);

    untouched = map(16 * MIB);
    if (untouched[5 * MIB] != 0) return 1;  // the zero page

    // Last, so that nothing else is mapped into the hole.
    holed = map(3 * MIB);
    fill((uint64_t *)holed, MIB, 8);
    fill((uint64_t *)(holed + 2 * MIB), MIB, 9);
    munmap(holed + MIB, MIB);

    if (fork() == 0) {
        fill((uint64_t *)(cow + MIB), MIB, 103);
        wait_and_verify("child", 1);
    }
    fill((uint64_t *)cow, MIB / 2, 203);
    unsigned long wrong = deep(512, wait_for_stack);
    FILE *stack = fopen("stack", "w");
    fprintf(stack, "stack %lu\n", wrong);
    fclose(stack);
    wait_and_verify("parent", 0);
}
