// Pairs of processes. In each a mover makes one call for a large buffer that cannot be done before the file "go" appears, and tells what
// came of it; its partner does the other side before and after.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t first = 100000;

static unsigned char expected(size_t at) { return (unsigned char)((at * 2654435761u) >> 13); }

static unsigned char *pattern(size_t length) {
    unsigned char *bytes = malloc(length);
    if (!bytes) _exit(1);
    for (size_t at = 0; at < length; at++) bytes[at] = expected(at);
    return bytes;
}

static void tell(const char *kind, const char *side, const char *text) {
    char name[64], done[64];
    snprintf(name, sizeof name, "%s-%s.new", kind, side);
    snprintf(done, sizeof done, "%s-%s", kind, side);
    int file = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    if (file < 0 || write(file, text, strlen(text)) < 0) _exit(1);
    close(file);
    rename(name, done);
}

static void await_go(void) {
    struct stat status;
    while (stat("go", &status) != 0) usleep(20000);
}

static size_t damage(const unsigned char *bytes, size_t from, size_t count) {
    size_t wrong = 0;
    for (size_t at = 0; at < count; at++) wrong += bytes[at] != expected(from + at);
    return wrong;
}

static void report(const char *kind, const char *side, long result, int error, size_t wrong) {
    char text[96];
    snprintf(text, sizeof text, "%ld %d %zu\n", result, error, wrong);
    tell(kind, side, text);
}

// The mover writes all at once; the partner reads what comes, from "go" on.
static void write_pair(const char *kind, int source, int sink, size_t length) {
    if (fork() == 0) {
        close(source);
        unsigned char *bytes = pattern(length);
        char pid[32];
        snprintf(pid, sizeof pid, "%d 1\n", getpid());
        tell(kind, "mover", pid);
        errno = 0;
        long result = write(sink, bytes, length);
        report(kind, "moved", result, errno, damage(bytes, 0, length));
        _exit(0);
    }
    if (fork() == 0) {
        close(sink);
        unsigned char *bytes = malloc(1 << 16);
        size_t total = 0, wrong = 0;
        await_go();
        for (;;) {
            ssize_t count = read(source, bytes, 1 << 16);
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) break;
            wrong += damage(bytes, total, (size_t)count);
            total += (size_t)count;
        }
        report(kind, "partner", (long)total, 0, wrong);
        _exit(0);
    }
    close(source);
    close(sink);
}

static void send_all(int to, const unsigned char *bytes, size_t from, size_t end) {
    while (from < end) {
        ssize_t count = write(to, bytes + from, end - from);
        if (count < 0 && errno != EINTR) _exit(1);
        if (count > 0) from += (size_t)count;
    }
}

// The mover wants all at once; the partner sends a part, and the rest from "go" on.
static void read_pair(const char *kind, int source, int sink, size_t length) {
    if (fork() == 0) {
        close(sink);
        unsigned char *bytes = calloc(1, length);
        char pid[32];
        snprintf(pid, sizeof pid, "%d 45\n", getpid());
        tell(kind, "mover", pid);
        errno = 0;
        long result = recv(source, bytes, length, MSG_WAITALL);
        report(kind, "moved", result, errno, damage(bytes, 0, length));
        _exit(0);
    }
    if (fork() == 0) {
        close(source);
        unsigned char *bytes = pattern(length);
        send_all(sink, bytes, 0, first);
        tell(kind, "sent", "");
        await_go();
        send_all(sink, bytes, first, length);
        report(kind, "partner", (long)length, 0, 0);
        _exit(0);
    }
    close(source);
    close(sink);
}

static void connect_pair(int ends[2]) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)
        || getsockname(listener, (struct sockaddr *)&address, &length))
        exit(1);
    ends[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(ends[1], (struct sockaddr *)&address, sizeof address)) exit(1);
    ends[0] = accept(listener, NULL, NULL);
    if (ends[0] < 0) exit(1);
    close(listener);
}

int main(void) {
    int ends[2];
    if (pipe(ends)) return 1;
    write_pair("pipe", ends[0], ends[1], 1 << 20);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return 1;
    write_pair("unix", ends[0], ends[1], 4 << 20);
    connect_pair(ends);
    write_pair("tcp", ends[0], ends[1], 24 << 20);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return 1;
    read_pair("unix-all", ends[0], ends[1], 1 << 20);
    connect_pair(ends);
    read_pair("tcp-all", ends[0], ends[1], 1 << 20);
    while (wait(NULL) > 0 || errno == EINTR) {}
    return 0;
}
