#define _GNU_SOURCE
#include "xpr_minor.h"

#include <fcntl.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Swift's runtime needs /proc before main: it looks for its own path there. The first process of a kernel has none yet,
// nor a console of its own, so both are set up before any Swift code. Where /proc is there already (a container) it is left alone.
__attribute__((constructor(101))) static void prepare_first_process(void)
{
    if (getpid() != 1 || access("/proc/self/exe", F_OK) == 0)
        return;
    mkdir("/proc", 0555);
    mkdir("/sys", 0555);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL);
    int console = open("/dev/console", O_RDWR);
    if (console < 0)
        return;
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        dup2(console, descriptor);
    if (console > 2)
        close(console);
}

int xpr_load_module(int file)
{
    return (int)syscall(SYS_finit_module, file, "", 0);
}

int xpr_mount(const char *device, const char *directory, const char *type, const char *options)
{
    return mount(device, directory, type, MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, options);
}

int xpr_unmount(const char *directory)
{
    return umount2(directory, 0);
}

int xpr_power_off(void)
{
    return reboot(RB_POWER_OFF);
}

int xpr_sync_filesystem(int descriptor)
{
    return syncfs(descriptor);
}

int xpr_bypass_page_cache(int descriptor)
{
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? flags : fcntl(descriptor, F_SETFL, flags | O_DIRECT);
}

int xpr_is_first_process(void)
{
    return getpid() == 1;
}
