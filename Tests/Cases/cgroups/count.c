// Counts in a file.
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
    int state = count == 2 ? open(arguments[1], O_RDWR | O_CREAT | O_TRUNC, 0644) : -1;
    if (state < 0) return 1;
    for (long number = 1;; number++) {
        char line[33];
        snprintf(line, sizeof line, "%-31ld\n", number);
        if (pwrite(state, line, 32, 0) != 32) return 2;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}
