// Maps what can be mapped, forks, and verifies all of it in parent and child when the file "go" is there: "parent" and "child" have a line
// with the number of damaged words for each area. What is shared must still be: the parent writes into it, and the child reads that.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { page = 4096, pages = 16, size = pages * page };

static uint64_t value(uint64_t area, uint64_t index) { return (area + 1) * 0x9e3779b97f4a7c15 ^ index * 0xc2b2ae3d27d4eb4f; }

static void need(int is_true, const char *what) {
    if (is_true) return;
    perror(what);
    _exit(1);
}

static void fill(void *start, uint64_t area) {
    for (uint64_t i = 0; i < size / 8; i++) ((uint64_t *)start)[i] = value(area, i);
}

// The first word of what is shared is the parent's word for the child.
static unsigned long damage(const void *start, uint64_t area) {
    unsigned long count = 0;
    for (uint64_t i = 1; i < size / 8; i++) count += ((const uint64_t *)start)[i] != value(area, i);
    return count;
}

static void *map(int flags, int file, uint64_t area) {
    void *start = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, file, 0);
    need(start != MAP_FAILED, "mmap");
    fill(start, area);
    return start;
}

static int file_of(const char *path) {
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    need(file >= 0 && ftruncate(file, size) == 0, path);
    return file;
}

enum { posix, tmpfs_mapped, memfd, removed, removed_tmpfs, anonymous, zero, shared_kinds };
static const char *names[shared_kinds] = {"posix", "tmpfs", "memfd", "removed", "removed-tmpfs", "anonymous", "zero"};
static void *shared[shared_kinds];
static char *cow, *merged, *moved, *moved_part, *part_source, *hidden, *wiped, *advised;
static int open_file;

static void verify(const char *name, int is_child) {
    char temporary[32];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    FILE *result = fopen(temporary, "w");
    for (int i = 0; i < shared_kinds; i++) {
        fprintf(result, "%s %lu\n", names[i], damage(shared[i], i));
        if (is_child) fprintf(result, "%s-shared %d\n", names[i], *(uint64_t *)shared[i] != 0x1234567890abcdef + i);
    }
    fprintf(result, "cow %lu\n", damage(cow, 20));
    unsigned long wrong = 0;
    for (int i = 0; i < size; i++) wrong += merged[i] != 'k';
    fprintf(result, "merged %lu\n", wrong);
    fprintf(result, "moved %lu\n", damage(moved, 21));
    wrong = 0;
    for (int i = 0; i < page / 8; i++) wrong += ((uint64_t *)moved_part)[i] != value(22, 4 * page / 8 + i);
    for (int i = 1; i < 4 * page / 8; i++) wrong += ((uint64_t *)part_source)[i] != value(22, i);
    for (int i = 5 * page / 8; i < size / 8; i++) wrong += ((uint64_t *)part_source)[i] != value(22, i);
    fprintf(result, "moved-part %lu\n", wrong);
    mprotect(hidden, size, PROT_READ);
    fprintf(result, "hidden %lu\n", damage(hidden, 23));
    if (!is_child) fprintf(result, "wiped %lu\n", damage(wiped, 24));
    fprintf(result, "advised %lu\n", damage(advised, 25));
    // The open file: contents, offset, name.
    char text[size], path[64];
    struct stat of_file, of_path;
    snprintf(path, sizeof path, "/run/xenpr-kinds-open");
    fprintf(result, "open %d\n", pread(open_file, text, size, 0) != size || memcmp(text, "ab", 2) != 0 || text[size - 1] != 'z');
    fprintf(result, "offset %d\n", lseek(open_file, 0, SEEK_CUR) != 77);
    fprintf(result, "name %d\n", fstat(open_file, &of_file) != 0 || stat(path, &of_path) != 0 || of_file.st_ino != of_path.st_ino);
    fprintf(result, "mode %d\n", (of_file.st_mode & 07777) != 0640);
    fclose(result);
    rename(temporary, name);
}

int main(void) {
    int file = shm_open("/xenpr-kinds", O_RDWR | O_CREAT | O_TRUNC, 0600);
    // Its second half is never written: a hole.
    need(file >= 0 && ftruncate(file, 2 * size) == 0, "shm_open");
    shared[posix] = map(MAP_SHARED, file, posix);
    close(file);
    file = file_of("/run/xenpr-kinds-mapped");
    shared[tmpfs_mapped] = map(MAP_SHARED, file, tmpfs_mapped);
    cow = map(MAP_PRIVATE, file, 20);
    close(file);
    file = memfd_create("kinds", MFD_ALLOW_SEALING);
    need(file >= 0 && ftruncate(file, size) == 0, "memfd_create");
    shared[memfd] = map(MAP_SHARED, file, memfd);
    need(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0, "F_ADD_SEALS");
    file = file_of("removed.data");
    shared[removed] = map(MAP_SHARED, file, removed);
    unlink("removed.data");
    close(file);
    file = file_of("/run/xenpr-kinds-removed");
    shared[removed_tmpfs] = map(MAP_SHARED, file, removed_tmpfs);
    unlink("/run/xenpr-kinds-removed");
    close(file);
    shared[anonymous] = map(MAP_SHARED | MAP_ANONYMOUS, -1, anonymous);
    file = open("/dev/zero", O_RDWR);
    shared[zero] = map(MAP_SHARED, file, zero);
    close(file);

    int private = MAP_PRIVATE | MAP_ANONYMOUS;
    merged = map(private, -1, 0);
    memset(merged, 'k', size);
    need(madvise(merged, size, MADV_MERGEABLE) == 0, "MADV_MERGEABLE");
    moved = mremap(map(private, -1, 21), size, 3 * size, MREMAP_MAYMOVE);
    part_source = map(private, -1, 22);
    moved_part = mremap(part_source + 4 * page, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, moved + 2 * size);
    need(moved != MAP_FAILED && moved_part != MAP_FAILED, "mremap");
    hidden = map(private, -1, 23);
    mprotect(hidden, size, PROT_NONE);
    wiped = map(private, -1, 24);
    need(madvise(wiped, size, MADV_WIPEONFORK) == 0, "MADV_WIPEONFORK");
    advised = map(private | MAP_NORESERVE, -1, 25);
    madvise(advised, size, MADV_DONTDUMP);
    madvise(advised, size / 2, MADV_NOHUGEPAGE);
    madvise(advised, size / 4, MADV_SEQUENTIAL);
    need(mlock(advised + size / 2, page) == 0, "mlock");
    void *not_forked = map(private, -1, 26);
    madvise(not_forked, size, MADV_DONTFORK);

    open_file = file_of("/run/xenpr-kinds-open");
    char text[size];
    memset(text, 'z', size);
    memcpy(text, "ab", 2);
    need(write(open_file, text, size) == size && lseek(open_file, 77, SEEK_SET) == 77, "write");

    int child = fork();
    need(child >= 0, "fork");
    if (child != 0) close(open("ready", O_WRONLY | O_CREAT, 0600));
    while (access("go", F_OK) != 0) usleep(20000);
    if (child != 0) {
        for (int i = 0; i < shared_kinds; i++) *(uint64_t *)shared[i] = 0x1234567890abcdef + i;
        close(open("told", O_WRONLY | O_CREAT, 0600));
        verify("parent", 0);
    } else {
        while (access("told", F_OK) != 0) usleep(20000);
        verify("child", 1);
    }
    for (;;) pause();
}
