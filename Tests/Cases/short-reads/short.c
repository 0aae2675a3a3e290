// Readers whose buffers are larger than what comes: each read ends with a part of its buffer and begins anew, so that a reader that waits has the traces of
// earlier reads on its kernel stack. A feeder sends the bytes, a few at a time, and goes on when the file "go" is there.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { READERS = 32, ROUNDS = 60, BUFFER = 4096 };

struct reader {
    volatile unsigned long total, wrong, reads;
};

static struct reader *readers;
static int feed[READERS];

static unsigned char expected(unsigned long at) { return (unsigned char)((at * 2654435761u) >> 13); }

static ssize_t take(int index, int from, unsigned char *bytes) {
    struct iovec parts[2] = {{bytes, 100}, {bytes + 100, BUFFER - 100}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    switch (index % 4) {
    case 0: return read(from, bytes, BUFFER);  // a pipe
    case 1: return read(from, bytes, BUFFER);  // a socket
    case 2: return recv(from, bytes, BUFFER, 0);
    default: return recvmsg(from, &message, 0);
    }
}

static void receive(int index, int from) {
    unsigned char bytes[BUFFER];
    struct reader *own = &readers[index];
    for (;;) {
        ssize_t count = take(index, from, bytes);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) _exit(0);
        for (ssize_t at = 0; at < count; at++) own->wrong += bytes[at] != expected(own->total + (unsigned long)at);
        own->total += (unsigned long)count;
        own->reads++;
    }
}

static unsigned long sent[READERS];

static void send_rounds(void) {
    for (int round = 0; round < ROUNDS; round++)
        for (int index = 0; index < READERS; index++) {
            unsigned char bytes[97];
            size_t length = (size_t)(7 + (round * 31 + index) % 90);
            for (size_t at = 0; at < length; at++) bytes[at] = expected(sent[index] + at);
            if (write(feed[index], bytes, length) != (ssize_t)length) exit(1);
            sent[index] += length;
            // One at a time, so that each read finds no more than this.
            while (readers[index].total < sent[index] && readers[index].wrong == 0) usleep(200);
        }
}

static void tell(const char *name) {
    FILE *file = fopen("result.new", "w");
    unsigned long total = 0, wrong = 0, missing = 0, reads = 0;
    for (int index = 0; index < READERS; index++) {
        total += readers[index].total;
        wrong += readers[index].wrong;
        reads += readers[index].reads;
        missing += readers[index].total != sent[index];
    }
    fprintf(file, "%lu %lu %lu %lu\n", total, reads, wrong, missing);
    fclose(file);
    rename("result.new", name);
}

int main(void) {
    readers = mmap(NULL, sizeof *readers * READERS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int index = 0; index < READERS; index++) {
        int ends[2];
        if (index % 4 == 0 ? pipe(ends) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return 1;
        if (fork() == 0) {
            close(ends[1]);
            for (int other = 0; other < index; other++) close(feed[other]);
            receive(index, ends[0]);
        }
        close(ends[0]);
        feed[index] = ends[1];
    }
    send_rounds();
    tell("waiting");
    struct stat status;
    while (stat("go", &status) != 0) usleep(20000);
    send_rounds();
    tell("result");
    for (;;) pause();
}
