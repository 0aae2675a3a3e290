// Makes packet sockets of several kinds on loopback, and when the file "go" is there sends to each what it has to receive.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

// Nobody else's.
enum { FIRST = 0x7a01, RAW = FIRST, COOKED, OLD, FRAMES, BLOCKS, OLD_FRAMES, DIVIDED, HEADER };
enum { PAGE = 4096, FRAME = 2048, COUNT = 8 };

static char problems[4096];
static int loopback;

static void wrong(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t used = strlen(problems);
    vsnprintf(problems + used, sizeof problems - used, format, arguments);
    va_end(arguments);
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void set(int fd, int option, int value) {
    if (setsockopt(fd, SOL_PACKET, option, &value, sizeof value) != 0) {
        fprintf(stderr, "option %d: ", option);
        die("setsockopt");
    }
}

static int get(int fd, int option) {
    int value = -1;
    socklen_t length = sizeof value;
    return getsockopt(fd, SOL_PACKET, option, &value, &length) == 0 ? value : -errno;
}

static int packet(int type, int protocol) {
    int fd = socket(AF_PACKET, type | SOCK_NONBLOCK, 0);
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = loopback};
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) die("a packet socket");
    return fd;
}

static void ring(int fd, int kind, int version) {
    struct tpacket_req3 request = {.tp_block_size = 2 * PAGE, .tp_block_nr = 2, .tp_frame_size = FRAME, .tp_frame_nr = COUNT};
    if (version == TPACKET_V3) request.tp_retire_blk_tov = 30;
    if (setsockopt(fd, SOL_PACKET, kind, &request, version == TPACKET_V3 ? sizeof request : sizeof(struct tpacket_req)) != 0) die("a ring");
}

static char *map(int fd, int rings) {
    char *memory = mmap(NULL, rings * 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) die("mmap of a ring");
    return memory;
}

// A frame of loopback.
static int frame(char *to, int protocol, const char *text) {
    struct ethhdr header = {.h_proto = htons(protocol)};
    memcpy(to, &header, sizeof header);
    strcpy(to + sizeof header, text);
    return sizeof header + strlen(text) + 1;
}

static void emit(int protocol, const char *text) {
    static int out = -1;
    if (out < 0) out = socket(AF_PACKET, SOCK_RAW, 0);
    char bytes[256];
    int length = frame(bytes, protocol, text);
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = loopback};
    if (sendto(out, bytes, length, 0, (struct sockaddr *)&address, sizeof address) != length) wrong("0x%x is not sent: %s. ", protocol, strerror(errno));
}

static void expect(const char *what, int fd, int offset, const char *text) {
    char bytes[256] = "";
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    poll(&wait, 1, *text ? 5000 : 0);
    ssize_t length = recv(fd, bytes, sizeof bytes - 1, 0);
    if (!*text && length < 0 && errno == EAGAIN) return;
    if (length < offset || strcmp(bytes + offset, text) != 0)
        wrong("%s: \"%s\" (%zd, %s) instead of \"%s\". ", what, length < offset ? "" : bytes + offset, length, length < 0 ? strerror(errno) : "", text);
}

static void same(const char *what, int value, int expected) {
    if (value != expected) wrong("%s is %d instead of %d. ", what, value, expected);
}

static void await(const char *what, int fd, volatile unsigned *status, unsigned bit) {
    for (int tries = 0; !(*status & bit) && tries < 500; tries++) usleep(10000);
    if (!(*status & bit)) wrong("%s: nothing is in the ring. ", what);
}

// The number after a word in what a command prints.
static int number(const char *command, const char *word) {
    char text[8192];
    FILE *pipe = popen(command, "r");
    size_t length = pipe ? fread(text, 1, sizeof text - 1, pipe) : 0;
    text[length] = 0;
    if (pipe) pclose(pipe);
    char *found = strstr(text, word);
    return found ? atoi(found + strlen(word)) : -1;
}

int main(void) {
    loopback = if_nametoindex("lo");
    int raw = packet(SOCK_RAW, RAW);
    set(raw, PACKET_LOSS, 1);
    set(raw, PACKET_TIMESTAMP, 0x40);  // SOF_TIMESTAMPING_RAW_HARDWARE
    set(raw, PACKET_COPY_THRESH, 100);
    int cooked = packet(SOCK_DGRAM, COOKED);
    set(cooked, PACKET_AUXDATA, 1);
    set(cooked, PACKET_ORIGDEV, 1);
    set(cooked, PACKET_IGNORE_OUTGOING, 1);
    set(cooked, PACKET_QDISC_BYPASS, 1);
    // What begins with a y.
    struct sock_filter code[] = {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, 0xffff), BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {4, code};
    int size = 100000;
    if (setsockopt(cooked, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) die("SO_ATTACH_FILTER");
    if (setsockopt(cooked, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0) die("SO_RCVBUF");
    struct packet_mreq all = {.mr_ifindex = loopback, .mr_type = PACKET_MR_PROMISC};
    struct packet_mreq group = {.mr_ifindex = loopback, .mr_type = PACKET_MR_MULTICAST, .mr_alen = 6, .mr_address = {1, 0, 0x5e, 9, 8, 7}};
    if (setsockopt(raw, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0) die("PACKET_MR_PROMISC");
    if (setsockopt(raw, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &group, sizeof group) != 0) die("PACKET_MR_MULTICAST");
    int old = socket(AF_PACKET, SOCK_PACKET | SOCK_NONBLOCK, htons(OLD));
    struct sockaddr name = {.sa_family = AF_PACKET, .sa_data = "lo"};
    if (old < 0 || bind(old, &name, sizeof name) != 0) die("SOCK_PACKET");
    int frames = packet(SOCK_RAW, FRAMES);
    set(frames, PACKET_VERSION, TPACKET_V2);
    set(frames, PACKET_RESERVE, 32);
    ring(frames, PACKET_RX_RING, TPACKET_V2);
    ring(frames, PACKET_TX_RING, TPACKET_V2);
    char *frame_ring = map(frames, 2);
    int blocks = packet(SOCK_RAW, BLOCKS);
    set(blocks, PACKET_VERSION, TPACKET_V3);
    ring(blocks, PACKET_RX_RING, TPACKET_V3);
    char *block_ring = map(blocks, 1);
    int old_frames = packet(SOCK_DGRAM, OLD_FRAMES);
    ring(old_frames, PACKET_RX_RING, TPACKET_V1);
    char *old_ring = map(old_frames, 1);
    int divided = packet(SOCK_RAW, DIVIDED);
    set(divided, PACKET_FANOUT, 4711 | PACKET_FANOUT_CPU << 16 | PACKET_FANOUT_FLAG_ROLLOVER << 16);
    int header = packet(SOCK_RAW, HEADER);
    set(header, PACKET_VNET_HDR, 1);
    int unbound = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
    if (unbound < 0) die("an unbound packet socket");

    int promiscuity = number("ip -d link show dev lo", "promiscuity ");
    emit(RAW, "before the crash");
    expect("a packet before the crash", raw, ETH_HLEN, "before the crash");
    close(open("ready", O_WRONLY | O_CREAT, 0600));
    while (access("go", F_OK) != 0) usleep(20000);

    same("PACKET_LOSS", get(raw, PACKET_LOSS), 1);
    same("PACKET_TIMESTAMP", get(raw, PACKET_TIMESTAMP), 0x40);
    same("PACKET_AUXDATA", get(cooked, PACKET_AUXDATA), 1);
    same("PACKET_AUXDATA of another", get(raw, PACKET_AUXDATA), 0);
    same("PACKET_ORIGDEV", get(cooked, PACKET_ORIGDEV), 1);
    same("PACKET_IGNORE_OUTGOING", get(cooked, PACKET_IGNORE_OUTGOING), 1);
    same("PACKET_QDISC_BYPASS", get(cooked, PACKET_QDISC_BYPASS), 1);
    same("PACKET_QDISC_BYPASS of another", get(raw, PACKET_QDISC_BYPASS), 0);
    same("PACKET_VERSION", get(frames, PACKET_VERSION), TPACKET_V2);
    same("PACKET_RESERVE", get(frames, PACKET_RESERVE), 32);
    same("PACKET_VERSION of blocks", get(blocks, PACKET_VERSION), TPACKET_V3);
    same("PACKET_VNET_HDR", get(header, PACKET_VNET_HDR), 1);
    same("PACKET_FANOUT", get(divided, PACKET_FANOUT), 4711 | PACKET_FANOUT_CPU << 16 | PACKET_FANOUT_FLAG_ROLLOVER << 16);
    socklen_t length = sizeof size;
    getsockopt(cooked, SOL_SOCKET, SO_RCVBUF, &size, &length);
    same("SO_RCVBUF", size, 200000);
    struct sockaddr_ll address = {0};
    length = sizeof address;
    getsockname(unbound, (struct sockaddr *)&address, &length);
    if (address.sll_ifindex != 0 || address.sll_protocol != 0) wrong("an unbound socket is bound. ");
    getsockname(cooked, (struct sockaddr *)&address, &length);
    if (address.sll_ifindex != loopback || address.sll_protocol != htons(COOKED)) wrong("a bound socket is bound to something else. ");

    expect("nothing", raw, ETH_HLEN, "");
    emit(RAW, "raw");
    expect("SOCK_RAW", raw, ETH_HLEN, "raw");
    emit(COOKED, "no");
    emit(COOKED, "yes");
    expect("SOCK_DGRAM with a filter", cooked, 0, "yes");
    expect("what is filtered", cooked, 0, "");
    emit(OLD, "old");
    expect("SOCK_PACKET", old, ETH_HLEN, "old");
    emit(DIVIDED, "divided");
    expect("fanout", divided, ETH_HLEN, "divided");
    emit(HEADER, "header");
    expect("a virtio header", header, 10 + ETH_HLEN, "header");
    expect("an unbound socket", unbound, 0, "");

    emit(FRAMES, "into a frame");
    struct tpacket2_hdr *second = (void *)frame_ring;
    await("TPACKET_V2", frames, &second->tp_status, TP_STATUS_USER);
    if (strcmp(frame_ring + second->tp_mac + ETH_HLEN, "into a frame") != 0) wrong("TPACKET_V2 has something else. ");
    // The ring of what is to be sent lies behind the other.
    second = (void *)(frame_ring + 4 * PAGE);
    second->tp_len = frame((char *)second + TPACKET2_HDRLEN - sizeof(struct sockaddr_ll), RAW, "out of a frame");
    second->tp_status = TP_STATUS_SEND_REQUEST;
    if (send(frames, NULL, 0, 0) < 0) wrong("a ring is not sent: %s. ", strerror(errno));
    expect("a packet out of a ring", raw, ETH_HLEN, "out of a frame");
    emit(BLOCKS, "into a block");
    struct tpacket_block_desc *block = (void *)block_ring;
    await("TPACKET_V3", blocks, &block->hdr.bh1.block_status, TP_STATUS_USER);
    struct tpacket3_hdr *third = (void *)(block_ring + block->hdr.bh1.offset_to_first_pkt);
    if (block->hdr.bh1.num_pkts != 1 || strcmp((char *)third + third->tp_mac + ETH_HLEN, "into a block") != 0) wrong("TPACKET_V3 has something else. ");
    emit(OLD_FRAMES, "into an old frame");
    struct tpacket_hdr *first = (void *)old_ring;
    await("TPACKET_V1", old_frames, (volatile unsigned *)&first->tp_status, TP_STATUS_USER);
    if (strcmp(old_ring + first->tp_net, "into an old frame") != 0) wrong("TPACKET_V1 has something else. ");

    same("ip -d link: promiscuity", number("ip -d link show dev lo", "promiscuity "), promiscuity);
    same("the multicast address", number("ip maddr show dev lo", "01:00:5e:09:08:0"), 7);
    setsockopt(raw, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &all, sizeof all);
    same("promiscuity without the membership", number("ip -d link show dev lo", "promiscuity "), promiscuity - 1);

    FILE *result = fopen("result.new", "w");
    if (*problems) fprintf(result, "wrong: %s\n", problems);
    else fprintf(result, "as it was: 9 sockets receive what is theirs, through rings too, and their options are the same\n");
    fclose(result);
    rename("result.new", "result");
    for (;;) pause();
}
