# A program in a network namespace of its own with a bridge, and its child in a third one, which is joined to that bridge: as a router and what is behind it. The child answers on an
# abstract unix socket of its own namespace too. When the file "go" appears both compare their networks with what they were.
import ctypes
import os
import socket
import subprocess
import time
import traceback

libc = ctypes.CDLL(None, use_errno=True)


def run(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def setting(path, value=None):
    with open(f"/proc/sys/net/{path}", "r" if value is None else "w") as file:
        return file.write(value) if value is not None else file.read().strip()


def network(paths):
    return [
        sorted(run("-o", "link").splitlines()),
        sorted(run("-4", "-o", "address").splitlines()),
        run("route", "show").splitlines(),
        [setting(path) for path in paths],
    ]


def answer(ready):
    """The child: it tells how often it was asked, and whether its network is what it was."""
    if libc.unshare(0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.write(ready, b"1")
    while "eth0" not in run("-o", "link"):
        time.sleep(0.02)
    for command in ["link set lo up", "address add 10.9.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.9.0.1"]:
        run(*command.split())
    setting("ipv4/conf/eth0/rp_filter", "2")
    own = ["ipv4/conf/eth0/rp_filter", "ipv4/ip_forward"]
    before = network(own)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("10.9.0.2", 53))
    # The parent has this name in its own namespace.
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name.bind("\0xenpr-networks")
    os.write(ready, b"2")
    count, last, reply = 0, None, b""
    while True:
        question, peer = udp.recvfrom(100)
        number, kind = question.split()
        if number != last:
            count += 1
            now = network(own) if kind == b"verify" else before
            last, reply = number, f"{number.decode()} {count} {int(now == before)} {os.getpid()}".encode()
        udp.sendto(reply, peer)


name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name.bind("\0xenpr-networks")
done, ready = os.pipe()
child = os.fork()
if child == 0:
    try:
        answer(ready)
    except BaseException:
        traceback.print_exc()
    os._exit(1)
assert os.read(done, 1) == b"1"
for command in [
    "link set lo up",
    "link add name xprbr1 type bridge",
    "address add 10.9.0.1/24 dev xprbr1",
    "link set xprbr1 up",
    f"link add name inner type veth peer name eth0 netns {child}",
    "link set inner master xprbr1 up",
]:
    run(*command.split())
setting("ipv4/ip_forward", "1")
assert os.read(done, 1) == b"2"
own = ["ipv4/ip_forward", "ipv4/conf/xprbr1/rp_filter"]
time.sleep(1)
before = network(own)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind(("10.9.0.1", 5353))
client.settimeout(5)
number = 0


def ask(kind):
    """A datagram may be lost, as those in flight are in a crash: then the same is asked again."""
    global number
    number += 1
    for attempt in range(20):
        client.sendto(b"%d %s" % (number, kind), ("10.9.0.2", 53))
        try:
            while True:
                answered, *answer = map(int, client.recv(100).split())
                if answered == number:
                    return answer
        except TimeoutError:
            pass
    return None


state = os.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
verified, problem, last = 0, "", 0
while True:
    question = b"ask"
    if not verified and os.path.exists("go"):
        question = b"verify"
    answer = ask(question)
    if answer is None:
        problem = problem or "the other namespace does not answer"
    count, same, pid = answer or (last, 1, child)
    if count < last or pid != child:
        problem = problem or f"another child answers: {pid}, {count} after {last}"
    last = count
    if question == b"verify":
        verified = 1
        now = network(own)
        if not same:
            problem = problem or "the child's network is another one"
        if now != before:
            problem = problem or f"now {[a for a, b in zip(now, before) if a != b]}, before {[b for a, b in zip(now, before) if a != b]}"
    os.pwrite(state, f"{os.getpid()} {count} {verified} {problem}"[:500].ljust(511).encode() + b"\n", 0)
    time.sleep(0.02)
