// Process 1 of a container with a terminal. It opens a second one, as a multiplexer does, and has a child work in that: a session leader that reads lines and answers. The answers are counted in
// /data/state. When /data/go appears both look whether their terminals are what they were.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static void need(int succeeded, const char *what) {
    if (succeeded) return;
    int fd = open("/data/failure", O_WRONLY | O_CREAT, 0644);
    dprintf(fd, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static char name[64];

// What a program sees of its terminal.
static const char *difference(void) {
    struct winsize size;
    struct termios settings;
    const char *now = ttyname(0);
    if (!now || strcmp(now, name) != 0) return "its name";
    if (tcgetsid(0) != getpid()) return "its session";
    if (tcgetpgrp(0) != getpid()) return "its foreground process group";
    if (ioctl(0, TIOCGWINSZ, &size) != 0 || size.ws_row != 43 || size.ws_col != 132) return "its window";
    if (tcgetattr(0, &settings) != 0 || settings.c_lflag & ECHO || settings.c_cc[VEOF] != 7) return "its settings";
    int fd = open("/dev/tty", O_RDWR);
    if (fd < 0) return "/dev/tty";
    close(fd);
    return "nothing";
}

static void work(int master) {
    need(setsid() > 0, "setsid");
    int fd = open(name, O_RDWR);
    need(fd >= 0, name);
    need(ioctl(fd, TIOCSCTTY, 0) == 0, "TIOCSCTTY");
    close(master);
    for (int to = 0; to < 3; to++) dup2(fd, to);
    if (fd > 2) close(fd);
    char line[256];
    for (unsigned long count = 1;; count++) {
        ssize_t length = read(0, line, sizeof line);
        if (length <= 0) _exit(2);
        dprintf(1, "%lu %d %s\n", count, getpid(), strncmp(line, "verify", 6) == 0 ? difference() : "not asked");
    }
}

int main(void) {
    char console[64] = "", again[64] = "";
    need(isatty(0) && ttyname_r(0, console, sizeof console) == 0, "its own terminal");
    int state = open("/data/state", O_RDWR | O_CREAT | O_EXCL, 0644);
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    need(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0, "/dev/ptmx");
    need(ptsname_r(master, name, sizeof name) == 0, "ptsname");
    // Before there is anything to echo.
    struct termios settings;
    need(tcgetattr(master, &settings) == 0, "settings");
    settings.c_lflag &= ~ECHO;
    settings.c_cc[VEOF] = 7;
    need(tcsetattr(master, TCSANOW, &settings) == 0, "settings");
    need(ioctl(master, TIOCSWINSZ, &(struct winsize){.ws_row = 43, .ws_col = 132}) == 0, "window");
    pid_t child = fork();
    if (child == 0) work(master);
    need(child > 0, "fork");
    char seen[64] = "", answer[512];
    int verified = 0;
    for (;;) {
        int asks = !verified && access("/data/go", F_OK) == 0;
        const char *question = asks ? "verify\n" : "go on\n";
        char problem[64] = "";
        if (write(master, question, strlen(question)) < 0) snprintf(problem, sizeof problem, "write: %s", strerror(errno));
        size_t length = 0;
        while (length < sizeof answer - 1) {
            ssize_t more = read(master, answer + length, sizeof answer - 1 - length);
            if (more <= 0) snprintf(problem, sizeof problem, "read %zd after %zu: %s", more, length, strerror(errno));
            if (more <= 0) break;
            length += more;
            if (answer[length - 1] == '\n') break;
        }
        answer[length] = 0;
        unsigned long count = 0;
        int pid = 0;
        if (sscanf(answer, "%lu %d %63[^\r\n]", &count, &pid, seen) != 3 && !problem[0])
            snprintf(problem, sizeof problem, "no answer: %.40s", answer);
        else if (pid != child && !problem[0])
            snprintf(problem, sizeof problem, "another child answers: %d", pid);
        if (asks) {
            verified = 1;
            struct stat status;
            if (strcmp(seen, "nothing") != 0) snprintf(problem, sizeof problem, "%s", seen);
            if (ptsname_r(master, again, sizeof again) != 0 || strcmp(again, name) != 0)
                snprintf(problem, sizeof problem, "the master's number");
            if (stat("/dev/console", &status) != 0 || !S_ISCHR(status.st_mode))
                snprintf(problem, sizeof problem, "/dev/console");
        }
        static char first[64];
        if (problem[0] && !first[0]) snprintf(first, sizeof first, "%s", problem);
        char line[257];
        int end = snprintf(line, sizeof line, "%lu %d %s %s %s", count, verified, console, name, first);
        memset(line + end, ' ', sizeof line - end);
        line[255] = '\n';
        if (pwrite(state, line, 256, 0) != 256) return 4;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}
