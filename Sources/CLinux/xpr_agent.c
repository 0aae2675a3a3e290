#define _GNU_SOURCE
#include "xpr_agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/mqueue.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

pid_t xpr_fork(void) { return fork(); }

int xpr_become_subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

int xpr_new_cgroup_namespace(void) { return unshare(CLONE_NEWCGROUP); }

int xpr_remount_root(int mount_namespace, unsigned long flags) {
    if (setns(mount_namespace, CLONE_NEWNS) != 0) return -1;
    return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | flags, NULL);
}

int xpr_set_io_priority(int thread, int priority)
{
    // IOPRIO_WHO_PROCESS, which means a thread.
    return (int)syscall(SYS_ioprio_set, 1, thread, priority);
}

int xpr_disable_huge_pages(void) { return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); }

int xpr_set_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int xpr_close_from(unsigned int first) {
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) return 0;
    // Linux before 5.9 has no close_range.
    long limit = sysconf(_SC_OPEN_MAX);
    for (long fd = first; fd < limit; fd++) close((int)fd);
    return 0;
}

int xpr_close_from_on_exec(unsigned int first) {
    if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return 0;
    // Linux before 5.11 has no CLOSE_RANGE_CLOEXEC.
    long limit = sysconf(_SC_OPEN_MAX);
    for (long fd = first; fd < limit; fd++) fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

void xpr_reset_signals(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++) sigaction(number, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void xpr_ignore_terminal_signals(void) {
    static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_IGN;
    for (unsigned int i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
}

int xpr_termination_signalfd(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGQUIT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int xpr_read_signalfd(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

int xpr_filter_devices(int cgroup, const uint64_t *instructions, uint32_t count, uint32_t flags) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attributes.insn_cnt = count;
    attributes.insns = (uint64_t)(uintptr_t)instructions;
    attributes.license = (uint64_t)(uintptr_t) "GPL";
    int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
    if (program < 0) return -1;
    memset(&attributes, 0, sizeof attributes);
    attributes.target_fd = (uint32_t)cgroup;
    attributes.attach_bpf_fd = (uint32_t)program;
    attributes.attach_type = BPF_CGROUP_DEVICE;
    attributes.attach_flags = flags;
    int result = (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof attributes);
    int reason = errno;
    close(program);
    errno = reason;
    return result;
}

int xpr_enter_namespace(int namespace) { return setns(namespace, 0); }

int xpr_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int xpr_semaphore(void) {
    return eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
}

void xpr_lift_limits(void) {
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit;
        // RLIMIT_NOFILE has a ceiling (fs.nr_open); CRIU sees to it.
        if (getrlimit(resource, &limit) != 0) continue;
        limit.rlim_max = RLIM_INFINITY;
        setrlimit(resource, &limit);
    }
}

int xpr_make_queue(const char *name, unsigned int mode, long limit, long bytes) {
    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY}, before;
    struct mq_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.mq_maxmsg = limit;
    attributes.mq_msgsize = bytes;
    int is_known = getrlimit(RLIMIT_MSGQUEUE, &before) == 0;
    setrlimit(RLIMIT_MSGQUEUE, &unlimited);
    int queue = (int)syscall(SYS_mq_open, name, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC, mode, &attributes);
    int reason = errno;
    if (is_known) setrlimit(RLIMIT_MSGQUEUE, &before);
    errno = reason;
    return queue;
}

int xpr_remove_queue(const char *name) {
    return (int)syscall(SYS_mq_unlink, name);
}

int xpr_send(int queue, const void *bytes, size_t count, unsigned int priority) {
    return (int)syscall(SYS_mq_timedsend, queue, bytes, count, priority, NULL);
}

int xpr_take_descriptor(pid_t process, int descriptor) {
    int pidfd = xpr_pidfd_open(process);
    if (pidfd < 0) return -1;
    int copy = (int)syscall(SYS_pidfd_getfd, pidfd, descriptor, 0);
    int reason = errno;
    close(pidfd);
    errno = reason;
    return copy;
}

int xpr_open_beneath(int directory, const char *path, uint64_t flags, uint64_t mode) {
    struct open_how how;
    memset(&how, 0, sizeof how);
    how.flags = flags | O_CLOEXEC;
    how.mode = mode;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

int xpr_new_filesystem(const char *type) { return fsopen(type, FSOPEN_CLOEXEC); }

int xpr_set_option(int filesystem, const char *name, const char *value) {
    return fsconfig(filesystem, FSCONFIG_SET_STRING, name, value, 0);
}

int xpr_make_mount(int filesystem, unsigned int attributes) {
    if (fsconfig(filesystem, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) return -1;
    return fsmount(filesystem, FSMOUNT_CLOEXEC, attributes);
}

int xpr_attach_mount(int mount, int directory) {
    return move_mount(mount, "", directory, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int xpr_device_events(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
    if (fd < 0) return -1;
    struct sockaddr_nl address;
    memset(&address, 0, sizeof address);
    address.nl_family = AF_NETLINK;
    address.nl_groups = 1;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int xpr_pipe(int *ends) { return pipe2(ends, O_CLOEXEC); }

const char *xpr_entry_name(const struct dirent *entry) { return entry->d_name; }

long xpr_filesystem_type(const char *path) {
    struct statfs status;
    return statfs(path, &status) == 0 ? (long)status.f_type : -1;
}

int xpr_netlink_socket(int protocol) { return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol); }

int xpr_set_affinity(pid_t thread, const uint64_t *mask, size_t bytes) {
    return (int)syscall(SYS_sched_setaffinity, thread, bytes, mask);
}
