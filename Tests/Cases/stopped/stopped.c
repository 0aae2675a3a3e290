// Counts in a file of one fixed-size line.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    int state = open("state", O_RDWR | O_CREAT | O_EXCL, 0644);
    for (unsigned long count = 1;; count++) {
        char line[33];
        snprintf(line, sizeof line, "%31lu\n", count);
        if (pwrite(state, line, 32, 0) != 32) return 1;
        usleep(10000);
    }
}
