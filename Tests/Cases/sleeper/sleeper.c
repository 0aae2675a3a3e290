// Sleeps 60 s in one call, in the way that its argument names, once the file "begin" is there; then writes what the call returned, the seconds that passed on
// CLOCK_MONOTONIC and the seconds by which CLOCK_REALTIME is past the time that was meant. 60 s of one clock are the measure:
// CLOCK_MONOTONIC stands still from the crash to the restore, CLOCK_REALTIME does not.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 2) return 64;
    const char *way = argv[1];
    while (access("begin", F_OK) != 0) usleep(20000);
    double monotonic = now(CLOCK_MONOTONIC), real = now(CLOCK_REALTIME);
    struct timespec t = {.tv_sec = 60};
    char asleep[32];
    snprintf(asleep, sizeof asleep, "asleep.%s", way);
    close(open(asleep, O_WRONLY | O_CREAT, 0644));
    int result;
    if (strcmp(way, "relative") == 0) {
        result = nanosleep(&t, NULL) == 0 ? 0 : errno;
    } else {
        clockid_t clock = strcmp(way, "monotonic") == 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
        clock_gettime(clock, &t);
        t.tv_sec += 60;
        result = clock_nanosleep(clock, TIMER_ABSTIME, &t, NULL);
    }
    double slept = now(CLOCK_MONOTONIC) - monotonic, late = now(CLOCK_REALTIME) - real - 60;
    int file = open(way, O_WRONLY | O_CREAT | O_EXCL, 0644);
    dprintf(file, "%d %.3f %.3f\n", result, slept, late);
    return result != 0;
}
