// Counts in a file of one fixed-size line. It has a timer that nobody lives to see: what /proc says of it is compared with what is read of the dead kernel.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    int state = open("state", O_RDWR | O_CREAT | O_EXCL, 0644);
    struct itimerspec far = {.it_value.tv_sec = 1000000};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &far, NULL) != 0) return 2;
    for (unsigned long count = 1;; count++) {
        char line[33];
        snprintf(line, sizeof line, "%31lu\n", count);
        if (pwrite(state, line, 32, 0) != 32) return 1;
        usleep(10000);
    }
}
