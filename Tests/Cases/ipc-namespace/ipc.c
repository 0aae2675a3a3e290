// Two processes in uts and ipc namespaces of their own. They pass a ball through a shared segment, each waiting for a semaphore; beside
// that there are a segment of a huge page, one that nobody has attached, a set of semaphores that nobody touches, and a queue with messages. When the file
// "go" appears all of it is compared with what was put there. While the file "hold" is there the ball is held, and the partner waits for it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { ball_key = 0x1001, rest_key = 0x1002, turn_key = 0x1003, values_key = 0x1004, queue_key = 0x1005, huge_key = 0x1006 };
enum { ball_size = (1 << 20) + 100, rest_size = 5 * 4096 - 7, huge_size = 2 << 20, messages = 6 };

static const int sizes[messages] = {1, 100, 0, 4080, 8000, 33};
static const unsigned short values[5] = {7, 0, 32767, 1, 12345};

struct message {
    long type;
    unsigned char text[8192];
};

static int ball, rest, huge, turn, set, queue, state;
static uint64_t *large;
static long errors;

static uint64_t word(uint64_t place) { return (place + 1) * 0x9e3779b97f4a7c15; }

static void fill(uint64_t *memory, int size, int from) {
    for (int i = from; i < size / 8; i++) memory[i] = word(i);
}

static void compare(const uint64_t *memory, int size, int from) {
    for (int i = from; i < size / 8; i++) errors += memory[i] != word(i);
}

static void change(int semaphore, int by) {
    struct sembuf operation = {.sem_num = semaphore, .sem_op = by};
    if (semop(turn, &operation, 1) != 0) _exit(10 + errno);
}

static void verify(uint64_t *memory) {
    struct utsname names;
    uname(&names);
    errors += strcmp(names.nodename, "xenpr-container") != 0;
    errors += strcmp(names.domainname, "example.test") != 0;
    errors += shmget(ball_key, 0, 0) != ball || shmget(rest_key, 0, 0) != rest;
    errors += semget(turn_key, 0, 0) != turn || semget(values_key, 0, 0) != set || msgget(queue_key, 0) != queue;
    // The words before are those of the game.
    compare(memory, ball_size, 8);
    compare(large, huge_size, 0);
    errors += shmget(huge_key, 0, 0) != huge;
    uint64_t *other = shmat(rest, NULL, SHM_RDONLY);
    if (other == (void *)-1) errors++;
    else compare(other, rest_size, 0);
    struct shmid_ds segment;
    errors += shmctl(rest, IPC_STAT, &segment) != 0 || segment.shm_segsz != rest_size || segment.shm_perm.uid != 1234 ||
              (segment.shm_perm.mode & 0777) != 0640;
    for (int i = 0; i < 5; i++) errors += semctl(set, i, GETVAL) != values[i];
    struct msqid_ds description;
    errors += msgctl(queue, IPC_STAT, &description) != 0 || description.msg_qnum != messages;
    for (int i = 0; i < messages; i++) {
        static struct message message;
        errors += msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT) != sizes[i] || message.type != 100 + i;
        for (int j = 0; j < sizes[i]; j++) errors += message.text[j] != (unsigned char)(i * 31 + j);
    }
    errors += msgrcv(queue, &(struct message){0}, 8192, 0, IPC_NOWAIT) != -1 || errno != ENOMSG;
}

static void report(uint64_t count, int verified) {
    char line[65];
    snprintf(line, sizeof line, "%d %lu %ld %d", getpid(), count, errors, verified);
    size_t length = strlen(line);
    memset(line + length, ' ', sizeof line - length);
    line[63] = '\n';
    if (pwrite(state, line, 64, 0) != 64) _exit(4);
}

int main(void) {
    ball = shmget(ball_key, ball_size, IPC_CREAT | IPC_EXCL | 0600);
    rest = shmget(rest_key, rest_size, IPC_CREAT | IPC_EXCL | 0600);
    huge = shmget(huge_key, huge_size, IPC_CREAT | IPC_EXCL | SHM_HUGETLB | 0600);
    turn = semget(turn_key, 2, IPC_CREAT | IPC_EXCL | 0600);
    set = semget(values_key, 5, IPC_CREAT | IPC_EXCL | 0600);
    queue = msgget(queue_key, IPC_CREAT | IPC_EXCL | 0600);
    uint64_t *memory = shmat(ball, NULL, 0), *other = shmat(rest, NULL, 0);
    large = shmat(huge, NULL, 0);
    if (ball < 0 || rest < 0 || huge < 0 || large == (void *)-1 || turn < 0 || set < 0 || queue < 0 || memory == (void *)-1 || other == (void *)-1) return 1;
    fill(memory, ball_size, 8);
    fill(other, rest_size, 0);
    fill(large, huge_size, 0);
    struct shmid_ds segment;
    if (shmdt(other) != 0 || shmctl(rest, IPC_STAT, &segment) != 0) return 1;
    segment.shm_perm.uid = 1234;
    segment.shm_perm.mode = 0640;
    if (shmctl(rest, IPC_SET, &segment) != 0 || semctl(set, 0, SETALL, values) != 0) return 1;
    for (int i = 0; i < messages; i++) {
        static struct message message;
        message.type = 100 + i;
        for (int j = 0; j < sizes[i]; j++) message.text[j] = i * 31 + j;
        if (msgsnd(queue, &message, sizes[i], IPC_NOWAIT) != 0) return 1;
    }
    state = open("state", O_RDWR | O_CREAT | O_EXCL, 0644);
    memory[0] = 0;
    if (fork() == 0) {
        prctl(PR_SET_NAME, "ipc-partner");
        uint64_t *mine = shmat(ball, NULL, 0);
        if (mine == (void *)-1) _exit(1);
        close(state);
        for (;;) {
            change(0, -1);
            mine[0]++;
            change(1, 1);
        }
    }
    int verified = 0;
    for (uint64_t count = 1;; count++) {
        change(0, 1);
        change(1, -1);
        errors += memory[0] != count;
        if (!verified && access("go", F_OK) == 0) {
            verify(memory);
            verified = 1;
        }
        report(count, verified);
        if (access("hold", F_OK) == 0) close(open("held", O_WRONLY | O_CREAT, 0644));
        while (access("hold", F_OK) == 0) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}
