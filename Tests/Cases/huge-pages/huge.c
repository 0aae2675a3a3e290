// Fills huge pages, forks, changes some in the child alone, and verifies all of them in both when the file "go" is there: "parent" and "child" have
// a line with the number of damaged words for each area.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { huge = 2 << 20, words = huge / 8 };

static uint64_t value(uint64_t area, uint64_t page, uint64_t index) {
    return (area * 64 + page + 1) * 0x9e3779b97f4a7c15 ^ index * 0xc2b2ae3d27d4eb4f;
}

static void need(int is_true, const char *what) {
    if (is_true) return;
    perror(what);
    _exit(1);
}

static uint64_t *map(int flags, int file, int pages) {
    void *start = mmap(NULL, (size_t)pages * huge, PROT_READ | PROT_WRITE, flags, file, 0);
    need(start != MAP_FAILED, "mmap");
    return start;
}

static void fill(uint64_t *start, uint64_t area, int page) {
    for (uint64_t i = 0; i < words; i++) start[page * words + i] = value(area, page, i);
}

static unsigned long damage(const uint64_t *start, uint64_t area, int page, int is_empty) {
    unsigned long count = 0;
    for (uint64_t i = 0; i < words; i++) count += start[page * words + i] != (is_empty ? 0 : value(area, page, i));
    return count;
}

static uint64_t *own, *shared, *file, *over;
static int descriptor;

static void verify(const char *name, int is_child) {
    char temporary[32];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    FILE *result = fopen(temporary, "w");
    // The child has changed the second page of its own, and the last was never touched.
    fprintf(result, "own-0 %lu\n", damage(own, 1, 0, 0));
    fprintf(result, "own-1 %lu\n", damage(own, is_child ? 9 : 1, 1, 0));
    fprintf(result, "own-2 %lu\n", damage(own, 1, 2, 1));
    for (int page = 0; page < 2; page++) fprintf(result, "shared-%d %lu\n", page, damage(shared, 2, page, 0));
    for (int page = 0; page < 4; page++) fprintf(result, "memfd-%d %lu\n", page, damage(file, 3, page, page % 2));
    // A private mapping of the memfd: the first page is as in it, the third was changed.
    fprintf(result, "over-0 %lu\n", damage(over, 3, 0, 0));
    fprintf(result, "over-2 %lu\n", damage(over, 4, 2, 0));
    uint64_t word = 0;
    int is_read = pread(descriptor, &word, 8, 2 * huge + 80) == 8;
    fprintf(result, "read %d\n", !is_read || word != value(3, 2, 10));
    fprintf(result, "seals %d\n", fcntl(descriptor, F_GET_SEALS) != (F_SEAL_SHRINK | F_SEAL_GROW));
    // Shared still: what the parent writes, the child sees.
    if (is_child) fprintf(result, "shared-still %d\n", shared[words + 7] != 77 || file[3 * words + 7] != 78);
    fclose(result);
    rename(temporary, name);
}

int main(void) {
    own = map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 3);
    fill(own, 1, 0);
    fill(own, 1, 1);
    shared = map(MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 2);
    fill(shared, 2, 0);
    fill(shared, 2, 1);
    descriptor = memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING);
    need(descriptor >= 0 && ftruncate(descriptor, 4 * huge) == 0, "memfd_create");
    file = map(MAP_SHARED, descriptor, 4);
    fill(file, 3, 0);
    fill(file, 3, 2);
    for (int page = 1; page < 4; page += 2) need(file[page * words] == 0, "a new page");
    need(fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0, "F_ADD_SEALS");
    over = map(MAP_PRIVATE, descriptor, 4);
    need(over[0] == value(3, 0, 0), "a private mapping");
    fill(over, 4, 2);
    int child = fork();
    need(child >= 0, "fork");
    if (child == 0) fill(own, 9, 1);
    close(open(child == 0 ? "ready-child" : "ready-parent", O_WRONLY | O_CREAT, 0600));
    while (access("go", F_OK) != 0) usleep(20000);
    if (child != 0) {
        verify("parent", 0);
        shared[words + 7] = 77;
        file[3 * words + 7] = 78;
        close(open("told", O_WRONLY | O_CREAT, 0600));
    } else {
        while (access("told", F_OK) != 0) usleep(20000);
        verify("child", 1);
    }
    for (;;) pause();
}
