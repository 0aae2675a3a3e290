#ifndef XPR_AGENT_H
#define XPR_AGENT_H

#include <dirent.h>
#include <stdint.h>
#include <sys/types.h>

// What xenpr-agent needs of Linux and Swift's Glibc module does not import: variadic calls, macros with arguments and
// system calls without a glibc wrapper. Every function returns what its system call returns, with errno set.

/// fork(2). Only to be called while the process has one thread.
pid_t xpr_fork(void);

/// pipe2(2) with O_CLOEXEC.
int xpr_pipe(int *ends);

/// Makes the caller the new parent of its orphaned descendants (PR_SET_CHILD_SUBREAPER).
int xpr_become_subreaper(void);

/// Moves the caller into a new cgroup namespace (unshare(2)), the root of which is the cgroup that it is in.
int xpr_new_cgroup_namespace(void);

/// Enters a namespace by an open file of /proc/PID/ns (setns(2)).
int xpr_enter_namespace(int namespace);

/// Enters a mount namespace and gives the mount that is its root these flags (MS_* of mount(2)). The caller stays there.
int xpr_remount_root(int mount_namespace, unsigned long flags);

/// Loads a program that filters devices (BPF_PROG_TYPE_CGROUP_DEVICE) and attaches it to an open cgroup with these flags (bpf(2)).
int xpr_filter_devices(int cgroup, const uint64_t *instructions, uint32_t count, uint32_t flags);

/// Sets a thread's I/O priority (ioprio_set(2)).
int xpr_set_io_priority(int thread, int priority);

/// Gives this process, and what it forks and executes, no transparent huge pages (PR_SET_THP_DISABLE).
int xpr_disable_huge_pages(void);

/// Sets the name shown in /proc/PID/comm (PR_SET_NAME, at most 15 bytes).
int xpr_set_name(const char *name);

/// Closes every descriptor from `first` upwards.
int xpr_close_from(unsigned int first);

/// Has every descriptor from `first` upwards closed by the next exec.
int xpr_close_from_on_exec(unsigned int first);

/// Gives every signal its default action and unblocks all of them.
void xpr_reset_signals(void);

/// Ignores SIGHUP, SIGINT, SIGQUIT, SIGTERM and SIGPIPE.
void xpr_ignore_terminal_signals(void);

/// Blocks SIGINT, SIGTERM, SIGHUP and SIGQUIT, and returns a signalfd that delivers them.
int xpr_termination_signalfd(void);

/// Reads one signal number from a signalfd; 0 when there is none.
int xpr_read_signalfd(int fd);

/// pidfd_open(2).
int xpr_pidfd_open(pid_t pid);

/// A copy of another process's descriptor (pidfd_getfd(2), since Linux 5.6).
int xpr_take_descriptor(pid_t process, int descriptor);

/// An eventfd(2) of which a read takes one (EFD_SEMAPHORE), at zero, which does not block.
int xpr_semaphore(void);

/// mq_open(2) of a new queue, for reading and writing, without blocking, whatever the limit of a user's queues is. The name is without a slash.
int xpr_make_queue(const char *name, unsigned int mode, long limit, long bytes);

/// Raises the hard resource limits of the calling process (RLIM_INFINITY), as far as the kernel lets it.
void xpr_lift_limits(void);

/// mq_unlink(2).
int xpr_remove_queue(const char *name);

/// mq_timedsend(2) without a time limit.
int xpr_send(int queue, const void *bytes, size_t count, unsigned int priority);

/// openat2(2) that follows no symbolic link and does not leave `directory`. `flags` as of open(2); O_CLOEXEC is added.
int xpr_open_beneath(int directory, const char *path, uint64_t flags, uint64_t mode);

/// Begins to make a filesystem (fsopen(2)).
int xpr_new_filesystem(const char *type);

/// Tells a filesystem that is being made an option or its source (FSCONFIG_SET_STRING of fsconfig(2)).
int xpr_set_option(int filesystem, const char *name, const char *value);

/// Makes the filesystem (FSCONFIG_CMD_CREATE) and a mount of it that is nowhere (fsmount(2)); `attributes` are MOUNT_ATTR_*.
int xpr_make_mount(int filesystem, unsigned int attributes);

/// Puts such a mount over an open directory (move_mount(2)).
int xpr_attach_mount(int mount, int directory);

/// A netlink socket that receives the kernel's device events (NETLINK_KOBJECT_UEVENT).
int xpr_device_events(void);

/// A netlink socket of a protocol (NETLINK_*).
int xpr_netlink_socket(int protocol);

/// sched_setaffinity(2) with a mask of `bytes` bytes.
int xpr_set_affinity(pid_t thread, const uint64_t *mask, size_t bytes);

/// The name of a directory entry; valid until the next readdir(3) of its stream.
const char *xpr_entry_name(const struct dirent *entry);

/// `f_type` of statfs(2), whose structure and function have the same name; negative: there is nothing.
long xpr_filesystem_type(const char *path);

#endif
