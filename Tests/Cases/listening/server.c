// Answers each connection with "pid nonce number taken wrong-options" and closes it. The eventfd holds 7 from the start and is read when SIGUSR1
// has added 1; what was read is part of the answers from then on.
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int event_fd, epoll;

// Adds 1 and has the eventfd watched from then on; both here, for the signal can come when nobody waits.
static void add_one(int number) {
    (void)number;
    uint64_t one = 1;
    struct epoll_event watch = {.events = EPOLLIN, .data.u64 = 2000};
    if (write(event_fd, &one, sizeof one) != sizeof one || epoll_ctl(epoll, EPOLL_CTL_ADD, event_fd, &watch) != 0) _exit(1);
}

static int listen_on(const struct sockaddr *address, socklen_t size, int backlog) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, address, size) != 0 || listen(fd, backlog) != 0) exit(1);
    return fd;
}

// What servers set on the socket that they listen with (0), on those for datagrams of IPv4 (1) and IPv6 (2) and of the local system (3), and whether it
// is still there.
static const struct { int socket, level, name, value; } options[] = {
    {0, IPPROTO_TCP, TCP_NODELAY, 1}, {0, IPPROTO_TCP, TCP_DEFER_ACCEPT, 7}, {0, IPPROTO_TCP, TCP_FASTOPEN, 11},
    {0, IPPROTO_TCP, TCP_USER_TIMEOUT, 12345}, {0, IPPROTO_TCP, TCP_SYNCNT, 4}, {0, IPPROTO_IP, IP_TOS, 0x10},
    {0, IPPROTO_IP, IP_TTL, 33},
    {1, IPPROTO_IP, IP_PKTINFO, 1}, {1, IPPROTO_IP, IP_RECVTTL, 1}, {1, IPPROTO_IP, IP_RECVTOS, 1}, {1, IPPROTO_IP, IP_RECVERR, 1},
    {1, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO}, {1, IPPROTO_IP, IP_MULTICAST_TTL, 9}, {1, IPPROTO_IP, IP_MULTICAST_LOOP, 0},
    {1, IPPROTO_IP, IP_MULTICAST_ALL, 0}, {1, IPPROTO_IP, IP_MINTTL, 5}, {1, IPPROTO_IP, IP_RECVORIGDSTADDR, 1},
    {2, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1}, {2, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1}, {2, IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
    {2, IPPROTO_IPV6, IPV6_TCLASS, 0x20}, {2, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 44}, {2, IPPROTO_IP, IP_PKTINFO, 1},
    {2, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE}, {2, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 7},
    {2, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0}, {2, IPPROTO_IPV6, IPV6_RECVERR, 1},
    {0, SOL_SOCKET, SO_MAX_PACING_RATE, 12345678}, {1, SOL_SOCKET, SO_TIMESTAMP, 1}, {1, SOL_SOCKET, SO_RXQ_OVFL, 1},
    {1, SOL_SOCKET, SO_PEEK_OFF, 0}, {1, SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1}, {1, SOL_SOCKET, SO_BUSY_POLL, 50},
    {2, SOL_SOCKET, SO_TIMESTAMPNS, 1}, {2, SOL_SOCKET, SO_TIMESTAMPING, 1 << 3 | 1 << 4}, {3, SOL_SOCKET, SO_TIMESTAMP, 1},
};
enum { option_count = sizeof options / sizeof *options };

// How the socket that listens avoids congestion; cubic is the usual one.
static const char congestion[] = "reno";

static int tuned[4];

static void set_options(void) {
    for (int i = 0; i < option_count; i++)
        if (setsockopt(tuned[options[i].socket], options[i].level, options[i].name, &options[i].value, sizeof(int)) != 0) exit(1);
    if (setsockopt(tuned[0], IPPROTO_TCP, TCP_CONGESTION, congestion, sizeof congestion - 1) != 0) exit(1);
}

static int wrong_options(void) {
    int count = 0;
    for (int i = 0; i < option_count; i++) {
        int value = -1;
        socklen_t size = sizeof value;
        getsockopt(tuned[options[i].socket], options[i].level, options[i].name, &value, &size);
        count += value != options[i].value;
    }
    char name[16] = "";
    socklen_t size = sizeof name;
    getsockopt(tuned[0], IPPROTO_TCP, TCP_CONGESTION, name, &size);
    return count + (strcmp(name, congestion) != 0);
}

int main(int argc, char **argv) {
    if (argc != 2) return 64;
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_port = htons(7380), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(7381)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    snprintf(local.sun_path, sizeof local.sun_path, "%s", argv[1]);
    int fds[] = {
        listen_on((struct sockaddr *)&loopback, sizeof loopback, 16),
        listen_on((struct sockaddr *)&any, sizeof any, 5),
        listen_on((struct sockaddr *)&local, sizeof local, 7),
    };
    // Nobody connects to it: TCP_DEFER_ACCEPT would make them wait.
    loopback.sin_port = htons(7382);
    tuned[0] = listen_on((struct sockaddr *)&loopback, sizeof loopback, 3);
    tuned[1] = socket(AF_INET, SOCK_DGRAM, 0);
    tuned[2] = socket(AF_INET6, SOCK_DGRAM, 0);
    tuned[3] = socket(AF_UNIX, SOCK_DGRAM, 0);
    set_options();
    event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 3; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1000 + i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event);
    }
    uint64_t seven = 7, taken = 0;
    if (write(event_fd, &seven, sizeof seven) != sizeof seven) return 1;
    struct sigaction action = {.sa_handler = add_one, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    srandom((unsigned)getpid());
    long nonce = random(), answers = 0;
    FILE *file = fopen("server", "w");
    fprintf(file, "%d %ld\n", getpid(), nonce);
    fclose(file);
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(epoll, &event, 1, -1) != 1) continue;
        if (event.data.u64 == 2000) {
            uint64_t value = 0;
            if (read(event_fd, &value, sizeof value) == sizeof value) taken += value;
            continue;
        }
        int connection = accept(fds[event.data.u64 - 1000], NULL, NULL);
        if (connection < 0) continue;
        dprintf(connection, "%d %ld %ld %lu %d\n", getpid(), nonce, ++answers, (unsigned long)taken, wrong_options());
        close(connection);
    }
}
