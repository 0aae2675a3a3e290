# Sends a datagram into its tunnel, takes it out at the other end as a program of a virtual private network does, and sends it back from there. When the file "go" appears it compares its
# devices with what they were.
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import time

TUNSETIFF, TUNGETIFF, TUNSETPERSIST, TUNSETQUEUE, TUNSETSNDBUF = 0x400454CA, 0x800454D2, 0x400454CB, 0x400454D9, 0x400454D4
IFF_TUN, IFF_TAP, IFF_MULTI_QUEUE, IFF_DETACH_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 1, 2, 0x100, 0x400, 0x1000, 0x4000


def run(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def request(fd, number, name, flags):
    return struct.unpack("16sH", fcntl.ioctl(fd, number, struct.pack("16sH22x", name.encode(), flags))[:18])


def tunnel(name, flags):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request(fd, TUNSETIFF, name, flags)
    return fd


def devices():
    # The number behind @ is that of a device of the guest, which may have another one after a reboot; its own number is kept.
    # Whether a bridge without ports has a carrier, and who lies on it, is the bridge's affair; the state of a tunnel follows from what passed through it.
    links = [re.sub(r"@if\d+|qlen \d+|link-netnsid \d+|state \w+|NO-CARRIER,|,LOWER_UP", "", line) for line in run("-d", "-o", "link").splitlines()]
    return sorted(links), sorted(run("-4", "-o", "address").splitlines()), run("route", "show").replace("linkdown ", "").splitlines()


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo(packet):
    """An IPv4 datagram, back to its sender; None for anything else."""
    if packet[0] != 0x45 or packet[9] != socket.IPPROTO_UDP:
        return None
    header = packet[:10] + b"\0\0" + packet[16:20] + packet[12:16]
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    # A checksum of zero is none.
    return header + packet[22:24] + packet[20:22] + packet[24:26] + b"\0\0" + packet[28:]


with open("pid.new", "w") as file:
    file.write(f"{os.getpid()}\n")
os.rename("pid.new", "pid")
idle = os.open("/dev/net/tun", os.O_RDWR)
tun = tunnel("xprtun0", IFF_TUN | IFF_NO_PI)
queues = [tunnel("xprtap0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR) for _ in range(2)]
request(queues[1], TUNSETQUEUE, "", IFF_DETACH_QUEUE)
kept = tunnel("xprtun1", IFF_TUN)
fcntl.ioctl(kept, TUNSETPERSIST, 1)
os.close(kept)
for command in [
    "link set lo up",
    "link set xprtun0 mtu 1400 up",
    "address add 10.77.0.1/24 dev xprtun0",
    "route add 10.78.0.0/16 dev xprtun0",
    "link set xprtap0 address 02:00:00:00:77:01 up",
    "address add 10.79.0.1/24 dev xprtap0",
]:
    run(*command.split())
while "xprmv0" not in run("-o", "link"):
    time.sleep(0.02)
run("address", "add", "10.80.0.1/24", "dev", "xprmv0")
run("link", "set", "xprmv0", "up")
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind(("10.77.0.1", 5077))
client.setblocking(False)
state = os.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
time.sleep(1)
before = devices()


def pass_one(number):
    """A datagram through the tunnel and back; it may be lost once, as what is in flight in a crash."""
    for attempt in range(20):
        client.sendto(b"%d" % number, ("10.78.1.1", 7))
        until = time.monotonic() + 5
        while time.monotonic() < until:
            ready, _, _ = select.select([tun, client], [], [], 1)
            if tun in ready:
                answer = echo(os.read(tun, 2000))
                if answer:
                    os.write(tun, answer)
            if client in ready and client.recv(100) == b"%d" % number:
                return True
    return False


def verify():
    now = devices()
    if now != before:
        differs = [sorted(set(a) ^ set(b)) for a, b in zip(now, before) if a != b]
        return " ".join(str(differs).replace(chr(92), "").split())
    for fd, name, flags in (tun, b"xprtun0", IFF_TUN | IFF_NO_PI), (queues[0], b"xprtap0", IFF_TAP | IFF_MULTI_QUEUE | IFF_VNET_HDR):
        found, has = request(fd, TUNGETIFF, "", 0)
        if found.rstrip(b"\0") != name or has & flags != flags:
            return f"descriptor {fd} leads to {found} with flags {has:x}"
    # One that was detached can be attached, and one that was attached cannot.
    request(queues[1], TUNSETQUEUE, "", 0x200)
    try:
        request(queues[0], TUNSETQUEUE, "", 0x200)
        return "a queue was not attached any more"
    except OSError:
        pass
    # Nobody else has a device there yet.
    request(idle, TUNSETIFF, "xprtun2", IFF_TUN)
    # There already, for it is persistent.
    again = tunnel("xprtun1", IFF_TUN)
    fcntl.ioctl(again, TUNSETPERSIST, 0)
    os.close(again)
    return "" if "xprtun1" not in run("-o", "link") else "the persistent tunnel stays"


count, verified, problem = 0, 0, ""
while True:
    count += 1
    if not pass_one(count):
        problem = problem or "nothing comes through the tunnel"
    if not verified and os.path.exists("go"):
        problem = problem or verify()
        verified = 1
    os.pwrite(state, f"{os.getpid()} {count} {verified} {problem}"[:2000].ljust(2047).encode() + b"\n", 0)
    time.sleep(0.02)
