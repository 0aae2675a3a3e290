import fcntl
import os
import signal
import struct

from held import expect, hold, item


def make(name, content=b"content"):
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    os.write(fd, content)
    return fd


def locked_for_others(path, command, lock):
    """Whether another process finds the lock in its way."""
    child = os.fork()
    if child == 0:
        try:
            command(os.open(path, os.O_RDWR), lock)
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


@item("O_PATH")
def path_only():
    make("path-only")
    fd = os.open("path-only", os.O_PATH)
    yield
    expect("the flag", fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH, os.O_PATH)
    expect("the file", os.path.samestat(os.fstat(fd), os.stat("path-only")), True)


@item("a symbolic link, opened itself")
def symbolic_link():
    os.symlink("path-only", "link")
    os.sync()
    fd = os.open("link", os.O_PATH | os.O_NOFOLLOW)
    yield
    expect("where it leads", os.readlink("", dir_fd=fd), "path-only")


@item("a description's owner and signal")
def owner():
    reader, _ = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGRTMIN + 5)
    yield
    expect("the owner", fcntl.fcntl(reader, fcntl.F_GETOWN), os.getpid())
    expect("the signal", fcntl.fcntl(reader, fcntl.F_GETSIG), signal.SIGRTMIN + 5)


@item("a POSIX lock")
def posix_lock():
    fd = make("posix")
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 2)
    yield
    expect("its bytes", locked_for_others("posix", lambda f, _: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 2), None), True)
    expect("the bytes beside", locked_for_others("posix", lambda f, _: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 0), None), False)


@item("an OFD lock")
def description_lock():
    fd = make("ofd")
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1, 4, 0)
    fcntl.fcntl(fd, 37, lock)  # F_OFD_SETLK
    yield
    expect("its bytes", locked_for_others("ofd", lambda f, l: fcntl.fcntl(f, 37, l), lock), True)


@item("flock")
def whole_lock():
    fd = make("flock")
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield
    expect("the file", locked_for_others("flock", lambda f, _: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB), None), True)


@item("a lease")
def lease():
    os.close(make("leased"))
    fd = os.open("leased", os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    yield
    expect("the lease", fcntl.fcntl(fd, fcntl.F_GETLEASE), fcntl.F_RDLCK)


@item("a removed directory")
def removed_directory():
    os.mkdir("removed")
    fd = os.open("removed", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir("removed")
    yield
    expect("its links", os.fstat(fd).st_nlink, 0)
    expect("its entries", os.listdir(fd), [])


@item("files of /proc and /sys")
def kernel_files():
    own = os.open("/proc/self/status", os.O_RDONLY)
    limit = os.open("/proc/sys/kernel/pid_max", os.O_RDONLY)
    block = os.open("/sys/kernel/mm/transparent_hugepage/enabled", os.O_RDONLY)
    yield
    expect("whose status it is", f"\nPid:\t{os.getpid()}\n".encode() in os.pread(own, 4096, 0), True)
    expect("a number", os.pread(limit, 100, 0).strip().isdigit(), True)
    expect("a choice", b"never" in os.pread(block, 100, 0), True)


hold()
