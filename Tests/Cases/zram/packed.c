// The program of the cases zram and zswapped. Has memory swapped out in as many turns as it is told, so that each turn can go elsewhere: when the file "turn-N" is
// there it fills new areas, has them swapped out (MADV_PAGEOUT) and writes "out-N". When the file "go" is there it verifies all areas; the file "result" gets a line
// with the number of damaged pages for each.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#define PAGE 4096ul
#define TURNS 8

// Each compresses in its own way: text with repetitions near and far, zeros with little between, one word again and again, half of a page that cannot be
// compressed, all of it, and pages of shared memory.
enum { text, sparse, word, half, noise, shared, areas };
static const char *const names[areas] = {"text", "sparse", "word", "half", "noise", "shared"};
static const size_t pages[areas] = {128, 96, 32, 96, 32, 96};
static unsigned char *starts[TURNS][areas];

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static void fill(unsigned char *page, int turn, int area, uint64_t number) {
    static const char *const words[8] = {"swap ", "page ", "kernel ", "memory ", "compressed ", "slot ", "zero ", "restored "};
    uint64_t seed = mix(number * 64 + area * 8 + turn + 1);
    size_t at = 0;
    memset(page, 0, PAGE);
    switch (area) {
    case text:
    case shared:
        while (at < PAGE) {
            seed = mix(seed + 1);
            const char *next = words[seed & 7];
            // Now and then a number, so that repetitions are of all lengths.
            char digits[24];
            if ((seed >> 3 & 15) == 0) { snprintf(digits, sizeof digits, "%llu ", (unsigned long long)seed); next = digits; }
            size_t length = strlen(next);
            if (length > PAGE - at) length = PAGE - at;
            memcpy(page + at, next, length);
            at += length;
        }
        break;
    case sparse:
        for (; at + 16 < PAGE; at += 24 + (seed = mix(seed + 1)) % 700) memcpy(page + at, &seed, 1 + seed % 8);
        break;
    case word:
        for (; at < PAGE; at += 8) memcpy(page + at, &seed, 8);
        break;
    default:
        for (; at < (area == half ? PAGE / 2 : PAGE); at += 8) { seed = mix(seed + at + 1); memcpy(page + at, &seed, 8); }
    }
}

static void wait_for(const char *name) {
    while (access(name, F_OK) != 0) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static void publish(const char *name, const char *content) {
    char draft[64];
    snprintf(draft, sizeof draft, "%s.draft", name);
    int file = open(draft, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || write(file, content, strlen(content)) != (ssize_t)strlen(content) || close(file) != 0 || rename(draft, name) != 0) _exit(1);
}

static void out(int turn) {
    int memory = memfd_create("packed", 0);
    if (memory < 0 || ftruncate(memory, pages[shared] * PAGE) != 0) _exit(1);
    for (int area = 0; area < areas; area++) {
        void *start = area == shared ? mmap(NULL, pages[area] * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0)
                                     : mmap(NULL, pages[area] * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (start == MAP_FAILED) _exit(1);
        // Swapping is about single pages.
        madvise(start, pages[area] * PAGE, MADV_NOHUGEPAGE);
        starts[turn][area] = start;
        for (size_t i = 0; i < pages[area]; i++) fill(starts[turn][area] + i * PAGE, turn, area, i);
    }
    // A page that is on its way, or was locked by somebody, stays: it goes with a later call.
    for (int again = 0; again < 10; again++) {
        for (int area = 0; area < areas; area++) madvise(starts[turn][area], pages[area] * PAGE, MADV_PAGEOUT);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

int main(int count, char **arguments) {
    int turns = count == 2 ? atoi(arguments[1]) : 0;
    if (turns < 1 || turns > TURNS) return 64;
    char name[32], result[TURNS * areas * 32];
    for (int turn = 0; turn < turns; turn++) {
        snprintf(name, sizeof name, "turn-%d", turn + 1);
        wait_for(name);
        out(turn);
        snprintf(name, sizeof name, "out-%d", turn + 1);
        publish(name, "");
    }
    wait_for("go");
    size_t length = 0;
    unsigned char right[PAGE];
    for (int turn = 0; turn < turns; turn++)
        for (int area = 0; area < areas; area++) {
            int damaged = 0;
            for (size_t i = 0; i < pages[area]; i++) {
                fill(right, turn, area, i);
                damaged += memcmp(right, starts[turn][area] + i * PAGE, PAGE) != 0;
            }
            length += snprintf(result + length, sizeof result - length, "%d %s %d\n", turn + 1, names[area], damaged);
        }
    publish("result", result);
    pause();
    return 0;
}
