// Two processes take turns on a counter in each of two shared mappings: one adds 1 when it is even, the other when it is odd.
// Each turn also writes one word of a table beside the counter, which is filled from the start, and verifies 2000 others, so that
// 200 turns see all of it. Wrong words are counted.
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { words = 256 << 10, verified = 2000 };  // 2 MiB

struct area {
    atomic_ulong counter, errors;
    unsigned long table[words];
};

// Where a number is kept until the number that is larger by `words` takes its place.
static unsigned long *place(struct area *area, unsigned long number) { return &area->table[number * 4099 % words]; }

static void turn(struct area *area, unsigned long parity) {
    unsigned long now = area->counter;
    if (now % 2 != parity) return;
    // The numbers from now - words to now - 1 are in the table; each turn looks at the next 2000 of them.
    for (unsigned long i = 0; i < verified; i++) {
        unsigned long number = now - words + (now * verified + i) % words;
        if (*place(area, number) != number) area->errors++;
    }
    *place(area, now) = now;
    area->counter = now + 1;
}

int main(void) {
    int file = open("shared", O_RDWR | O_CREAT | O_EXCL, 0644);
    if (file < 0 || ftruncate(file, sizeof(struct area)) != 0) return 1;
    struct area *areas[2] = {
        mmap(NULL, sizeof(struct area), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
        mmap(NULL, sizeof(struct area), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
    };
    close(file);
    if (areas[0] == MAP_FAILED || areas[1] == MAP_FAILED) return 1;
    int state = open("state", O_RDWR | O_CREAT | O_EXCL, 0644);
    for (int i = 0; i < 2; i++) {
        for (unsigned long number = 0; number < words; number++) *place(areas[i], number) = number;
        areas[i]->counter = words;
    }
    unsigned long parity = fork() == 0;
    for (unsigned long loops = 0;; loops++) {
        for (int i = 0; i < 4; i++) {
            turn(areas[0], parity);
            turn(areas[1], parity);
        }
        if (parity == 0 && loops % 8 == 0) {
            char line[97];
            snprintf(line, sizeof line, "%d %lu %lu %lu %lu%90s", getpid(), areas[0]->counter, areas[0]->errors,
                     areas[1]->counter, areas[1]->errors, "");
            line[95] = '\n';
            if (pwrite(state, line, 96, 0) != 96) return 1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 4000000}, NULL);
    }
}
