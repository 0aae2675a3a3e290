// Counts for ever. The state file holds one fixed-size line: pid, nonce, count, checksum of all counts so far, and the number
// of damaged entries found in a table on the heap.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { entries = 1 << 12 };

int main(int argc, char **argv) {
    if (argc != 3) return 64;
    int state = open(argv[1], O_RDWR | O_CREAT | O_EXCL, 0644);
    if (state < 0) return 1;
    uint64_t nonce = strtoull(argv[2], NULL, 10), count = 0, sum = nonce, damaged = 0;
    uint64_t *table = malloc(entries * sizeof *table);
    if (!table) return 1;
    for (int i = 0; i < entries; i++) table[i] = nonce + i;

    for (;;) {
        count++;
        sum = (sum * 31 + count) % 1000003;
        // Each entry is its index plus the nonce, whatever the count: one that is not has been damaged.
        for (int i = 0; i < entries; i++) damaged += table[i] != nonce + i;
        char line[129];
        int length = snprintf(line, sizeof line, "%d %llu %llu %llu %llu", getpid(), (unsigned long long)nonce,
                              (unsigned long long)count, (unsigned long long)sum, (unsigned long long)damaged);
        memset(line + length, ' ', sizeof line - length);
        line[127] = '\n';
        if (pwrite(state, line, 128, 0) != 128) return 1;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}
