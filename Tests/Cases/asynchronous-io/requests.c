// Makes contexts of asynchronous I/O, and when the file "go" is there takes what was done before and has more done.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char problems[4096];

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

static aio_context_t context(unsigned events) {
    aio_context_t made = 0;
    if (syscall(SYS_io_setup, events, &made) != 0) die("io_setup");
    return made;
}

// Writes eight bytes that are the number, at the place that is the number, and has the result named by it.
static int submit(aio_context_t where, int fd, unsigned long number) {
    static unsigned long values[4096];
    values[number] = number;
    struct iocb request = {
        .aio_data = 0x1000 + number, .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = fd,
        .aio_buf = (unsigned long)&values[number], .aio_nbytes = 8, .aio_offset = number * 8,
    };
    struct iocb *list[] = {&request};
    return syscall(SYS_io_submit, where, 1L, list) == 1 ? 0 : -1;
}

// Takes as many results as are wanted, waiting for them. They have to be those of the requests from `first` on.
static void take(const char *what, aio_context_t where, unsigned long first, int wanted) {
    struct io_event events[64];
    int count;
    // Whoever is stopped meanwhile is told of an interruption by a living kernel too.
    do count = syscall(SYS_io_getevents, where, (long)wanted, 64L, events, NULL);
    while (count < 0 && errno == EINTR);
    if (count != wanted) wrong("%s: %d results, not %d. ", what, count, wanted);
    for (int i = 0; i < count; i++)
        if (events[i].data != 0x1000 + first + i || events[i].res != 8)
            wrong("%s: result %d is 0x%llx, %lld. ", what, i, events[i].data, events[i].res);
}

// None may be there.
static void none(const char *what, aio_context_t where) {
    struct io_event event;
    struct timespec now = {0, 0};
    int count = syscall(SYS_io_getevents, where, 0L, 1L, &event, &now);
    if (count != 0) wrong("%s: %d results, not 0. ", what, count);
}

static aio_context_t shared;

static void *waiter(void *unused) {
    take("who waited", shared, 2000, 1);
    return unused;
}

int main(void) {
    int fd = open("numbers", O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) die("numbers");
    aio_context_t fresh = context(1), used = context(100);
    shared = context(500);
    // The ring has more places than were asked for; it is gone around in portions.
    unsigned long number = 0;
    while (number < 900) {
        for (int i = 0; i < 50; i++)
            if (submit(used, fd, number + i) != 0) die("io_submit");
        take("before the crash", used, number, 50);
        number += 50;
    }
    for (int i = 0; i < 7; i++)
        if (submit(used, fd, number + i) != 0) die("io_submit");
    pthread_t thread;
    if (pthread_create(&thread, NULL, waiter, NULL) != 0) die("pthread_create");
    if (*problems) {
        fprintf(stderr, "%s\n", problems);
        exit(1);
    }

    close(open("ready", O_WRONLY | O_CREAT, 0600));
    while (access("go", F_OK) != 0) usleep(20000);

    take("what nobody had taken", used, number, 7);
    none("the used context", used);
    none("the fresh context", fresh);
    for (int i = 0; i < 60; i++)
        if (submit(used, fd, 1000 + i) != 0) wrong("request %d is refused: %m. ", i);
    take("what is new", used, 1000, 60);
    if (submit(fresh, fd, 1500) != 0) wrong("the fresh context refuses a request: %m. ");
    take("the fresh context", fresh, 1500, 1);
    if (submit(shared, fd, 2000) != 0) wrong("the context with a waiting thread refuses a request: %m. ");
    pthread_join(thread, NULL);
    int count = 0;
    for (unsigned long i = 0; i < 4096; i++) {
        unsigned long value = 0;
        if (pread(fd, &value, 8, i * 8) != 8 || value != i) continue;
        count++;
    }
    // The hole between them reads as zeros, of which the first is right.
    if (count != 907 + 60 + 2) wrong("the file has %d of the numbers, not 969. ", count);
    if (syscall(SYS_io_destroy, fresh) != 0 || syscall(SYS_io_destroy, used) != 0 || syscall(SYS_io_destroy, shared) != 0)
        wrong("a context cannot be destroyed: %m. ");

    FILE *result = fopen("result.new", "w");
    if (*problems) fprintf(result, "wrong: %s\n", problems);
    else fprintf(result, "as it was: 7 results that nobody had taken, 62 new ones, and a thread that waited\n");
    fclose(result);
    rename("result.new", "result");
    for (;;) pause();
}
