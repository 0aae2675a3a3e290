// A server and a client over 127.0.0.1. Each writes a stream of its own until nothing more goes in, reads a little of the other's, notes what is
// unread and unsent, and waits for the file `go`. Then both write and read the rest, compare each byte, and close in turn.
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { total = 3 << 20, first_read = 1003 };

static uint8_t byte_at(uint64_t index, uint64_t seed) {
    uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u ^ seed;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
    return (uint8_t)(x >> 56);
}

static const char *name;
static int fd;
static uint64_t sent, received, errors, seed_out, seed_in;

static void fail(const char *what) {
    char path[64];
    snprintf(path, sizeof path, "%s.error", name);
    FILE *file = fopen(path, "w");
    fprintf(file, "%s: %s (sent %lu, received %lu)\n", what, strerror(errno), (unsigned long)sent, (unsigned long)received);
    fclose(file);
    exit(1);
}

static int give(void) {
    uint8_t buffer[3001];
    size_t size = total - sent < sizeof buffer ? total - sent : sizeof buffer;
    for (size_t i = 0; i < size; i++) buffer[i] = byte_at(sent + i, seed_out);
    ssize_t done = write(fd, buffer, size);
    if (done < 0 && errno == EAGAIN) return 0;
    if (done <= 0) fail("write");
    sent += (uint64_t)done;
    return 1;
}

static void take(size_t limit) {
    uint8_t buffer[8192];
    ssize_t done = read(fd, buffer, limit < sizeof buffer ? limit : sizeof buffer);
    if (done < 0 && errno == EAGAIN) return;
    if (done < 0) fail("read");
    if (done == 0) fail("end of the stream");
    for (ssize_t i = 0; i < done; i++) errors += buffer[i] != byte_at(received + (uint64_t)i, seed_in);
    received += (uint64_t)done;
}

static void wait_for(short events) {
    struct pollfd wait = {.fd = fd, .events = events};
    if (poll(&wait, 1, 60000) != 1) fail("poll");
}

static void note(const char *suffix, int unread, int unsent) {
    char path[64], temporary[64];
    snprintf(path, sizeof path, "%s.%s", name, suffix);
    snprintf(temporary, sizeof temporary, "%s.new", name);
    FILE *file = fopen(temporary, "w");
    fprintf(file, "%d %lu %lu %lu %d %d\n", getpid(), (unsigned long)sent, (unsigned long)received, (unsigned long)errors, unread, unsent);
    fclose(file);
    rename(temporary, path);
}

static int run(void) {
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (give()) {}
    while (received < first_read) {
        wait_for(POLLIN);
        take(first_read - received);
    }
    while (give()) {}
    int unread = 0, unsent = 0;
    ioctl(fd, FIONREAD, &unread);
    ioctl(fd, SIOCOUTQNSD, &unsent);
    note("state", unread, unsent);
    while (access("go", F_OK) != 0) usleep(20000);
    while (sent < total || received < total) {
        wait_for((received < total ? POLLIN : 0) | (sent < total ? POLLOUT : 0));
        if (sent < total) give();
        if (received < total) take(8192);
    }
    if (shutdown(fd, SHUT_WR) != 0) fail("shutdown");
    uint8_t one;
    ssize_t end;
    do wait_for(POLLIN); while ((end = read(fd, &one, 1)) < 0 && errno == EAGAIN);
    if (end != 0) errors++;
    note("result", 0, 0);
    return 0;
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), receive = 16384, send = 131072;
    name = "server";
    // Small enough that what is written does not fit into what can be received.
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive);
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &send, sizeof send);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0) fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &size) != 0) fail("getsockname");
    uint64_t seed = (uint64_t)getpid() << 32 | (uint64_t)ntohs(address.sin_port);
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        name = "client";
        close(listener);
        seed_out = seed;
        seed_in = ~seed;
        fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send);
        if (connect(fd, (struct sockaddr *)&address, size) != 0) fail("connect");
        return run();
    }
    seed_out = ~seed;
    seed_in = seed;
    fd = accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    close(listener);
    return run();
}
