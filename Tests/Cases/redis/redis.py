"""A minimal client of redis-server, and the keys that the case stores."""

import hashlib
import socket

KEYS = 100_000
PORT = 7379


def key(number):
    return b"key:%d" % number


def value(number):
    # 8 to 71 bytes, so that both embedded and allocated strings are there.
    return hashlib.sha512(b"value %d" % number).digest()[: 8 + number % 57] + b"%d" % number


class Redis:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=30)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
        return b"".join(parts)

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b"+:":
            return rest
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        raise RuntimeError(line)

    def call(self, *words):
        self.socket.sendall(self.send(*words))
        return self.reply()

    def info(self, name):
        for line in self.call(b"INFO", b"server").decode().splitlines():
            if line.startswith(name + ":"):
                return line.split(":", 1)[1]
        raise KeyError(name)


def each_thousand():
    return (range(start, start + 1000) for start in range(0, KEYS, 1000))


def huge_pages(pid):
    """THP_enabled of a process: 0 after PR_SET_THP_DISABLE."""
    with open(f"/proc/{pid}/status") as file:
        return next(line.split()[1] for line in file if line.startswith("THP_enabled"))
