// Child 1 reads 4 MiB of zeros at a time over a buffer of ones; child 2 reads 1 MiB at a time from a file with a known pattern;
// child 3 asks for random bytes; child 4 makes many short calls (getppid). Each counts rounds and errors in shared memory.
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kinds = 4, zeros = 4 << 20, block = 1 << 20 };
static struct { atomic_ulong rounds, errors; } *counts;

static void work(int kind, pid_t parent) {
    unsigned char *buffer = malloc(zeros);
    int fd = kind == 0 ? open("/dev/zero", O_RDONLY) : kind == 1 ? open("pattern", O_RDONLY) : open("/dev/urandom", O_RDONLY);
    if (!buffer || fd < 0) _exit(1);
    for (;;) {
        unsigned long errors = 0;
        if (kind == 0) {
            memset(buffer, 1, zeros);
            // A read of a device may be cut short by an interruption, but what it says it read must be zero.
            ssize_t got = read(fd, buffer, zeros);
            if (got <= 0) errors++;
            for (ssize_t i = 0; i < got; i++) errors += buffer[i] != 0;
        } else if (kind == 1) {
            memset(buffer, 0, block);
            ssize_t got = pread(fd, buffer, block, 0);
            if (got != block) errors++;
            for (ssize_t i = 0; i < got; i++) errors += buffer[i] != (unsigned char)(i * 7 + i / 256);
        } else if (kind == 2) {
            if (read(fd, buffer, 65536) <= 0) errors++;
        } else {
            for (int i = 0; i < 20000; i++) errors += syscall(SYS_getppid) != parent;
        }
        counts[kind].errors += errors;
        counts[kind].rounds++;
    }
}

int main(void) {
    counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int pattern = open("pattern", O_RDWR | O_CREAT | O_EXCL, 0644);
    unsigned char *bytes = malloc(block);
    for (int i = 0; i < block; i++) bytes[i] = (unsigned char)(i * 7 + i / 256);
    if (write(pattern, bytes, block) != block || fsync(pattern) != 0) return 1;
    int state = open("state", O_RDWR | O_CREAT | O_EXCL, 0644);
    pid_t parent = getpid();
    for (int kind = 0; kind < kinds; kind++)
        if (fork() == 0) work(kind, parent);
    for (;;) {
        char line[257];
        int length = snprintf(line, sizeof line, "%d", getpid());
        for (int kind = 0; kind < kinds; kind++)
            length += snprintf(line + length, sizeof line - (size_t)length, " %lu %lu", counts[kind].rounds, counts[kind].errors);
        memset(line + length, ' ', sizeof line - (size_t)length);
        line[255] = '\n';
        if (pwrite(state, line, 256, 0) != 256) return 1;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}
