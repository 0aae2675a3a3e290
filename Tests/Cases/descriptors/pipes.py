import fcntl
import os

from held import expect, hold, item


def nonblocking(fd):
    os.set_blocking(fd, False)
    return fd


@item("a FIFO")
def fifo():
    os.mkfifo("fifo")
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("fifo", os.O_WRONLY)
    os.write(writer, b"first ")
    yield
    os.write(writer, b"second")
    expect("the bytes", os.read(reader, 100), b"first second")
    other = os.open("fifo", os.O_WRONLY | os.O_NONBLOCK)
    os.write(other, b"by name")
    expect("what comes in by its name", os.read(reader, 100), b"by name")


@item("a full pipe")
def full():
    reader, writer = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(writer, 1031, 1 << 17)  # F_SETPIPE_SZ
    block = bytes(range(256)) * 16
    count = 0
    try:
        while True:
            count += os.write(writer, block)
    except BlockingIOError:
        pass
    yield
    try:
        os.write(writer, block)
        raise AssertionError("there is room in it")
    except BlockingIOError:
        pass
    expect("the room", fcntl.fcntl(reader, 1032), 1 << 17)  # F_GETPIPE_SZ
    found = b""
    while len(found) < count:
        found += os.read(reader, 1 << 16)
    expect("what is in it", found == block * (count // len(block)), True)


@item("a pipe in packet mode")
def packets():
    reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    os.write(writer, b"read before")
    expect("a packet", os.read(reader, 100), b"read before")
    for packet in b"waited first", b"waited second", b"p" * 4096:
        os.write(writer, packet)
    yield
    os.write(writer, b"first")
    os.write(writer, b"second")
    for packet in b"waited first", b"waited second", b"p" * 4096, b"first":
        expect("a packet", os.read(reader, 5000), packet)
    expect("as much of the last packet as is asked for", os.read(reader, 3), b"sec")
    try:
        expect("the rest of it", os.read(reader, 100), None)
    except BlockingIOError:
        pass


@item("a named pipe with a packet before other bytes")
def mixed():
    os.mkfifo("packets.fifo")
    end = os.open("packets.fifo", os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
    os.write(end, b"a packet")
    fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK)
    os.write(end, b"bytes ")
    os.write(end, b"in a row")
    yield
    expect("the packet", os.read(end, 100), b"a packet")
    expect("what follows", os.read(end, 100), b"bytes in a row")


@item("a pipe whose writers are gone")
def ended():
    reader, writer = os.pipe()
    os.write(writer, b"last words")
    os.close(writer)
    yield
    expect("the bytes", os.read(reader, 100), b"last words")
    expect("the end", os.read(reader, 100), b"")


hold()
