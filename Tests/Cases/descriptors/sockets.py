import os
import socket
import struct

from held import expect, hold, item


def pair(kind):
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    one.setblocking(False)
    other.setblocking(False)
    return one, other


@item("unix stream")
def stream():
    one, other = pair(socket.SOCK_STREAM)
    one.send(b"to the other")
    other.send(b"to the one")
    yield
    expect("what came", (other.recv(100), one.recv(100)), (b"to the other", b"to the one"))
    one.send(b"again")
    expect("what comes now", other.recv(100), b"again")


@item("unix datagrams")
def datagrams():
    one, other = pair(socket.SOCK_DGRAM)
    for part in (b"first", b"", b"third"):
        one.send(part)
    yield
    expect("the datagrams", [other.recv(100) for _ in range(3)], [b"first", b"", b"third"])


@item("unix seqpacket")
def packets():
    one, other = pair(socket.SOCK_SEQPACKET)
    one.send(b"one")
    one.send(b"and two")
    yield
    expect("the packets", [other.recv(100) for _ in range(2)], [b"one", b"and two"])


@item("a named unix socket with a connection that waits")
def named():
    server, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    server.bind("socket")
    server.listen(7)
    client.connect("socket")
    client.send(b"hello")
    yield
    accepted, _ = server.accept()
    expect("what the waiting one said", accepted.recv(100), b"hello")
    late = socket.socket(socket.AF_UNIX)
    late.connect("socket")
    late.send(b"late")
    expect("what comes in by its name", server.accept()[0].recv(100), b"late")


@item("an abstract unix socket")
def abstract():
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(b"\0xenpr " + os.urandom(4))
    name = server.getsockname()
    yield
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"by name", name)
    expect("what comes in by its name", server.recv(100), b"by name")


@item("descriptors in flight")
def flight():
    one, other = pair(socket.SOCK_STREAM)
    reader, writer = os.pipe()
    socket.send_fds(one, [b"a pipe"], [reader])
    os.close(reader)
    os.write(writer, b"through it")
    yield
    text, fds, _, _ = socket.recv_fds(other, 100, 4)
    expect("the message", (text, len(fds)), (b"a pipe", 1))
    expect("what comes through the descriptor", os.read(fds[0], 100), b"through it")


@item("a unix socket that gives credentials")
def credentials():
    one, other = pair(socket.SOCK_DGRAM)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    yield
    one.send(b"who")
    _, control, _, _ = other.recvmsg(100, socket.CMSG_SPACE(12))
    expect("who sent", struct.unpack("iII", control[0][2])[0], os.getpid())


@item("listening TCP with its options")
def listening():
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    server.bind(("127.0.0.1", 0))
    server.listen(5)
    address = server.getsockname()
    yield
    expect("the address", server.getsockname(), address)
    for option in (socket.SO_REUSEADDR, socket.SO_KEEPALIVE):
        expect(f"option {option}", server.getsockopt(socket.SOL_SOCKET, option) != 0, True)
    client = socket.create_connection(address, 10)
    client.send(b"hello")
    expect("what comes in", server.accept()[0].recv(100), b"hello")


@item("UDP")
def udp():
    one, other = socket.socket(type=socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    other.bind(("::1", 0))
    connected = socket.socket(type=socket.SOCK_DGRAM)
    connected.connect(one.getsockname())
    names = [s.getsockname() for s in (one, other, connected)]
    yield
    expect("the addresses", [s.getsockname() for s in (one, other, connected)], names)
    connected.send(b"to where it is connected")
    expect("what comes", one.recv(100), b"to where it is connected")
    expect("IPV6_V6ONLY", other.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), 1)


@item("netlink")
def netlink():
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    # RTMGRP_IPV4_RULE: other cases make devices, and what the kernel tells of them would wait here, and be lost.
    route.bind((0, 0x80))
    yield
    expect("the groups", route.getsockname()[1], 0x80)
    # RTM_GETLINK with NLM_F_REQUEST and NLM_F_DUMP.
    route.send(struct.pack("=IHHIIBxHiII", 32, 18, 0x301, 1, 0, 0, 0, 0, 0, 0))
    expect("the kind of its answer", struct.unpack("=IH", route.recv(65536)[:6])[1], 16)


hold()
