#ifndef XPR_MINOR_H
#define XPR_MINOR_H

// What xenpr-minor, as the first process of its kernel, needs of Linux. Every function returns what its system call
// returns, with errno set.

/// Loads a module from an open file, without parameters (finit_module(2)).
int xpr_load_module(int file);

/// Mounts `device` at `directory` (mount(2)); `options` are the file system's own.
int xpr_mount(const char *device, const char *directory, const char *type, const char *options);

/// Unmounts what is at `directory` (umount2(2)).
int xpr_unmount(const char *directory);

/// Turns the machine off (reboot(2) with RB_POWER_OFF).
int xpr_power_off(void);

/// Writes everything of the file system that `descriptor` is on to its device (syncfs(2)).
int xpr_sync_filesystem(int descriptor);

/// Makes an open file go around the page cache (O_DIRECT of fcntl(2)); EINVAL on file systems that cannot.
int xpr_bypass_page_cache(int descriptor);

/// Whether this process is the first of its kernel or PID namespace.
int xpr_is_first_process(void);

#endif
