// Has memory of several kinds swapped out (MADV_PAGEOUT), forks, has it swapped out again and again from when the file "begin" is there, and verifies all of it in
// parent and child when the file "go" is there. The files "parent" and "child" get a line with the number of damaged words for each area.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#define MIB (1ul << 20)

enum { own, inherited, zeros, file, shared, memfd, areas };
static const char *const names[areas] = {"own", "inherited", "zeros", "file", "shared", "memfd"};
static const size_t sizes[areas] = {3 * MIB, 2 * MIB, MIB, MIB, 2 * MIB, 2 * MIB};
static uint64_t *starts[areas];

static uint64_t value(uint64_t area, uint64_t index) { return (area + 1) * 0x9e3779b97f4a7c15 ^ index * 0xc2b2ae3d27d4eb4f; }

static void fill(int area, size_t from, size_t to, uint64_t seed) {
    for (size_t i = from / 8; i < to / 8; i++) starts[area][i] = area == zeros ? 0 : value(seed, i);
}

static unsigned long damage(int area, size_t from, size_t to, uint64_t seed) {
    unsigned long count = 0;
    for (size_t i = from / 8; i < to / 8; i++) count += starts[area][i] != (area == zeros ? 0 : value(seed, i));
    return count;
}

static void *map(size_t bytes, int flags, int descriptor) {
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0);
    if (start == MAP_FAILED) { perror("mmap"); _exit(1); }
    return start;
}

// From the file "begin" to the file "go". Without swap, as after the recovery, the kernel leaves the pages where they are.
static void push_out_until_go(void) {
    while (access("begin", F_OK) != 0) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    while (access("go", F_OK) != 0) {
        for (int area = 0; area < areas; area++) madvise(starts[area], sizes[area], MADV_PAGEOUT);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
}

static void report(const char *name, int is_child) {
    char draft[32];
    snprintf(draft, sizeof draft, "%s.draft", name);
    FILE *result = fopen(draft, "w");
    if (!result) _exit(1);
    for (int area = 0; area < areas; area++) {
        // The child has written the second half of what it inherited.
        size_t half = area == inherited && is_child ? sizes[area] / 2 : sizes[area];
        fprintf(result, "%s %s %lu\n", name, names[area],
                damage(area, 0, half, area) + damage(area, half, sizes[area], area + 100));
    }
    if (fclose(result) != 0 || rename(draft, name) != 0) _exit(1);
}

int main(void) {
    int mapped = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
    int memory = memfd_create("swapped", 0);
    if (mapped < 0 || memory < 0 || ftruncate(mapped, sizes[file]) != 0 || ftruncate(memory, sizes[memfd]) != 0) return 1;
    starts[own] = map(sizes[own], MAP_PRIVATE | MAP_ANONYMOUS, -1);
    starts[inherited] = map(sizes[inherited], MAP_PRIVATE | MAP_ANONYMOUS, -1);
    starts[zeros] = map(sizes[zeros], MAP_PRIVATE | MAP_ANONYMOUS, -1);
    starts[file] = map(sizes[file], MAP_PRIVATE, mapped);
    starts[shared] = map(sizes[shared], MAP_SHARED | MAP_ANONYMOUS, -1);
    starts[memfd] = map(sizes[memfd], MAP_SHARED, memory);
    for (int area = 0; area < areas; area++) {
        // Swapping is about single pages.
        madvise(starts[area], sizes[area], MADV_NOHUGEPAGE);
        fill(area, 0, sizes[area], area);
    }
    // The child inherits entries of swapped pages.
    for (int area = 0; area < areas; area++) madvise(starts[area], sizes[area], MADV_PAGEOUT);
    pid_t child = fork();
    if (child < 0) return 1;
    if (child == 0) {
        fill(inherited, sizes[inherited] / 2, sizes[inherited], inherited + 100);
        close(open("ready", O_WRONLY | O_CREAT, 0600));
        push_out_until_go();
        report("child", 1);
    } else {
        push_out_until_go();
        report("parent", 0);
    }
    pause();
    return 0;
}
