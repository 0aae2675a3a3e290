import ctypes
import os
import select
import signal
import struct
import time

from held import expect, hold, item

libc = ctypes.CDLL(None, use_errno=True)


def call(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@item("eventfd")
def counter():
    fd = call(libc.eventfd(41, os.O_NONBLOCK))
    os.write(fd, struct.pack("Q", 1))
    yield
    expect("the count", struct.unpack("Q", os.read(fd, 8))[0], 42)


@item("an eventfd that is a semaphore")
def semaphore():
    fd = call(libc.eventfd(2, os.O_NONBLOCK | 1))  # EFD_SEMAPHORE
    other = os.dup(fd)
    yield
    os.write(other, struct.pack("Q", 1))
    for _ in range(3):
        expect("a read", struct.unpack("Q", os.read(fd, 8))[0], 1)
    try:
        expect("a fourth read", os.read(fd, 8), None)
    except BlockingIOError:
        pass


def queue(name, flags, mode=0o640, limit=5, size=9000):
    attributes = struct.pack("8q", 0, limit, size, 0, 0, 0, 0, 0)
    return call(libc.syscall(240, name, flags, mode, attributes))


def send(fd, text, priority):
    call(libc.syscall(242, fd, text, ctypes.c_size_t(len(text)), priority, None))


def receive(fd):
    buffer, priority = ctypes.create_string_buffer(9000), ctypes.c_uint()
    size = call(libc.syscall(243, fd, buffer, ctypes.c_size_t(9000), ctypes.byref(priority), None))
    return priority.value, buffer.raw[:size]


@item("a POSIX message queue, open twice")
def posix_queue():
    fd = queue(b"xenpr-jobs", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NONBLOCK)
    reader = queue(b"xenpr-jobs", os.O_RDONLY | os.O_NONBLOCK)
    os.fchown(fd, 12, 34)
    for text, priority in (b"old", 3), (b"l" * 8999, 0), (b"urgent", 9), (b"", 3):
        send(fd, text, priority)
    yield
    status = os.fstat(reader)
    expect("mode and owner", (status.st_mode & 0o777, status.st_uid, status.st_gid), (0o640, 12, 34))
    send(fd, b"last", 0)
    try:
        send(fd, b"more than its limit", 0)
        raise AssertionError("it has no limit")
    except BlockingIOError:
        pass
    for message in (9, b"urgent"), (3, b"old"), (3, b""), (0, b"l" * 8999), (0, b"last"):
        expect("a message", receive(reader), message)
    call(libc.syscall(241, b"xenpr-jobs"))


@item("a POSIX message queue that was removed")
def removed_queue():
    fd = queue(b"xenpr-gone", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NONBLOCK)
    call(libc.syscall(241, b"xenpr-gone"))
    send(fd, b"kept", 1)
    yield
    expect("the message", receive(fd), (1, b"kept"))
    expect("its name", libc.syscall(240, b"xenpr-gone", os.O_RDWR, 0, None), -1)


@item("nested epoll")
def nested():
    ready, idle = call(libc.eventfd(1, 0)), call(libc.eventfd(0, 0))
    inner, outer = select.epoll(), select.epoll()
    inner.register(ready, select.EPOLLIN | select.EPOLLET)
    inner.register(idle, select.EPOLLIN | select.EPOLLONESHOT)
    outer.register(inner, select.EPOLLIN)
    yield
    expect("what the outer one reports", outer.poll(0), [(inner.fileno(), select.EPOLLIN)])
    expect("what the inner one reports", inner.poll(0), [(ready, select.EPOLLIN)])
    os.write(idle, struct.pack("Q", 1))
    expect("what was armed once", inner.poll(0), [(idle, select.EPOLLIN)])
    os.write(idle, struct.pack("Q", 1))
    expect("what was armed once, again", [e for e in inner.poll(0) if e[0] == idle], [])


@item("signalfd")
def signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGRTMIN + 3})
    mask = struct.pack("Q", 1 << signal.SIGUSR1 - 1 | 1 << signal.SIGRTMIN + 2)
    fd = call(libc.signalfd(-1, mask, os.O_NONBLOCK))
    os.kill(os.getpid(), signal.SIGUSR1)
    yield
    expect("the pending signal", struct.unpack("I", os.read(fd, 128)[:4])[0], signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGRTMIN + 3)
    expect("the next signal", struct.unpack("I", os.read(fd, 128)[:4])[0], signal.SIGRTMIN + 3)


@item("files of namespaces")
def namespaces():
    names = ["net", "uts", "pid", "mnt"]
    files = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in names]
    yield
    for name, fd in zip(names, files):
        # The next kernel has numbers of its own.
        expect(f"the {name} namespace", os.fstat(fd).st_ino, os.stat(f"/proc/self/ns/{name}").st_ino)
        expect(f"the kind of the {name} namespace", os.readlink(f"/proc/self/fd/{fd}").split(":")[0], name)


@item("timerfd")
def timer():
    fd = call(libc.timerfd_create(time.CLOCK_MONOTONIC, 0))
    call(libc.timerfd_settime(fd, 0, struct.pack("qqqq", 0, 50_000_000, 0, 50_000_000), None))
    far = call(libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK))
    call(libc.timerfd_settime(far, 0, struct.pack("qqqq", 0, 0, 3600, 0), None))
    left = ctypes.create_string_buffer(32)
    call(libc.timerfd_gettime(far, left))
    known = struct.unpack("qqqq", left.raw)[2]
    yield
    expect("that it goes on", struct.unpack("Q", os.read(fd, 8))[0] >= 1, True)
    call(libc.timerfd_gettime(far, left))
    remaining = struct.unpack("qqqq", left.raw)[2]
    # The downtime does not count; what the guest ran before and after does.
    expect("what remained", known - 1200 < remaining <= known, True)


@item("inotify")
def watches():
    os.mkdir("watched")
    fd = call(libc.inotify_init1(os.O_NONBLOCK))
    watch = call(libc.inotify_add_watch(fd, b"watched", 0x100))  # IN_CREATE
    yield
    open("watched/file", "w").close()
    event = os.read(fd, 4096)
    expect("the event", (struct.unpack("iI", event[:8]), event[16:20]), ((watch, 0x100), b"file"))


@item("a memfd with seals")
def sealed():
    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    content = os.urandom(10_000)
    os.write(fd, content)
    seals = 0x2 | 0x4 | 0x8  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE
    libc.fcntl(fd, 1033, seals)  # F_ADD_SEALS
    yield
    expect("the content", os.pread(fd, 20_000, 0) == content, True)
    expect("the seals", libc.fcntl(fd, 1034), seals)  # F_GET_SEALS
    try:
        os.write(fd, b"x")
        raise AssertionError("it can be written")
    except PermissionError:
        pass


hold()
