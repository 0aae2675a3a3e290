// Opens files in many ways, forks, and reports when the file "go" is there: parent and child write their lines to "result".
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void wait_for(const char *name) {
    while (access(name, F_OK) != 0) usleep(20000);
}

static char byte_at(int fd) {
    char byte = '?';
    return read(fd, &byte, 1) == 1 ? byte : '?';
}

int main(void) {
    int data = open("data", O_RDWR | O_CREAT | O_EXCL | O_NOATIME, 0640);
    char text[4096];
    for (int i = 0; i < 4096; i++) text[i] = 'a' + i % 26;
    if (write(data, text, sizeof text) != sizeof text) return 1;
    lseek(data, 1000, SEEK_SET);
    int copy = dup(data);                               // the same description
    int high = fcntl(data, F_DUPFD_CLOEXEC, 200);       // the same, close-on-exec
    int other = open("data", O_RDONLY);                 // another description
    lseek(other, 2000, SEEK_SET);
    int append = open("appended", O_WRONLY | O_CREAT | O_APPEND, 0600);
    int directory = open(".", O_RDONLY | O_DIRECTORY);
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY), urandom = open("/dev/urandom", O_RDONLY);
    int unlinked = open("unlinked", O_RDWR | O_CREAT | O_EXCL, 0600);
    if (write(unlinked, "unlinked content", 16) != 16 || unlink("unlinked") != 0) return 1;
    int pair[2];
    if (pipe2(pair, O_NONBLOCK) != 0) return 1;
    fcntl(pair[1], F_SETPIPE_SZ, 1 << 18);
    if (write(pair[1], "pipe content", 12) != 12 || write(append, "before\n", 7) != 7) return 1;

    pid_t child = fork();
    if (child == 0) {
        // The child reads one byte through the shared description, after the parent has read two.
        wait_for("child-go");
        FILE *result = fopen("child.new", "w");
        fprintf(result, "child data %c\n", byte_at(data));
        fclose(result);
        rename("child.new", "child-result");
        for (;;) pause();
    }
    close(open("ready", O_WRONLY | O_CREAT, 0600));
    wait_for("go");
    FILE *result = fopen("result.new", "w");
    fprintf(result, "data %c\n", byte_at(data));
    fprintf(result, "copy %c\n", byte_at(copy));
    close(open("child-go", O_WRONLY | O_CREAT, 0600));
    wait_for("child-result");
    fprintf(result, "high %c\n", byte_at(high));
    fprintf(result, "other %c\n", byte_at(other));
    fprintf(result, "flags %d %d %d\n", fcntl(high, F_GETFD), fcntl(data, F_GETFD), fcntl(append, F_GETFL) & O_APPEND ? 1 : 0);
    fprintf(result, "noatime %d\n", fcntl(data, F_GETFL) & O_NOATIME ? 1 : 0);
    fprintf(result, "append %d\n", write(append, "after\n", 6) == 6);
    struct stat status;
    fprintf(result, "directory %d\n", fstatat(directory, "data", &status, 0) == 0 && status.st_size == 4096);
    char bytes[32] = "";
    fprintf(result, "null %zd %zd\n", read(null, bytes, 1), write(null, "x", 1));
    bytes[0] = 'x';
    ssize_t got = read(zero, bytes, 1);
    fprintf(result, "zero %zd %d\n", got, bytes[0]);
    fprintf(result, "urandom %zd\n", read(urandom, bytes, 16));
    memset(bytes, 0, sizeof bytes);
    fprintf(result, "unlinked %zd %s\n", pread(unlinked, bytes, 16, 0), bytes);
    memset(bytes, 0, sizeof bytes);
    fprintf(result, "pipe %zd %s\n", read(pair[0], bytes, 31), bytes);
    fprintf(result, "pipe-empty %zd size %d\n", read(pair[0], bytes, 31), fcntl(pair[0], F_GETPIPE_SZ));
    fclose(result);
    rename("result.new", "result");
    for (;;) pause();
}
