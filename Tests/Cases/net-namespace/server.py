# In a network namespace with nothing but loopback: it listens on port 22, which is sshd's outside, and on an abstract unix address. When the
# file "go" appears it connects to both and looks around.
import errno
import os
import socket
import time

listener = socket.create_server(("127.0.0.1", 22))
listener6 = socket.create_server(("::1", 22), family=socket.AF_INET6)
local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
local.bind("\0xenpr-net-namespace")
local.listen()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 53))
state = os.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)


def talk(listener, client, address):
    client.connect(address)
    server, _ = listener.accept()
    client.sendall(b"question")
    right = server.recv(100) == b"question"
    server.sendall(b"answer")
    right = client.recv(100) == b"answer" and right
    client.close()
    server.close()
    return 0 if right else 1


def errors():
    wrong = talk(listener, socket.socket(), ("127.0.0.1", 22))
    wrong += talk(listener6, socket.socket(socket.AF_INET6), ("::1", 22))
    wrong += talk(local, socket.socket(socket.AF_UNIX), "\0xenpr-net-namespace")
    wrong += socket.if_nameindex() != [(1, "lo")]
    datagrams.sendto(b"datagram", ("127.0.0.1", 53))
    wrong += datagrams.recv(100) != b"datagram"
    try:
        socket.create_connection(("192.0.2.1", 22))
        wrong += 1
    except OSError as error:
        wrong += error.errno != errno.ENETUNREACH
    return wrong


count, verified, wrong = 0, 0, 0
while True:
    count += 1
    if not verified and os.path.exists("go"):
        wrong, verified = errors(), 1
    os.pwrite(state, f"{os.getpid()} {count} {wrong} {verified}".ljust(63).encode() + b"\n", 0)
    time.sleep(0.02)
