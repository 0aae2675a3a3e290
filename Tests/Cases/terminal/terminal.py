# Three processes around one pseudo terminal:
#   the holder has both ends, and types;
#   the leader of a session has the terminal as its controlling one, and reads;
#   the job is the process group in the foreground, and waits for ^C.
# When the file "go" appears each compares what it sees with what it knew before the crash. The leader and the job tell the holder
# of it through a pipe, and the holder writes "result".
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import time

get_session = 0x5429  # TIOCGSID
size = (43, 117, 640, 480)
nonce = os.urandom(8).hex().encode()
line, rest = b"a line " + nonce + b"\n", b"half a line "
errors = []


def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.05)


def expect(what, found, known):
    if found != known:
        errors.append(f"{what} is {found}, it was {known}")


def window(fd):
    return struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))


def read(fd, count, seconds=20):
    """As many bytes as that, or what came in time."""
    found = b""
    while len(found) < count and select.select([fd], [], [], seconds)[0]:
        found += os.read(fd, count - len(found))
    return found


def job(tell):
    interrupts = 0

    def count(*_):
        nonlocal interrupts
        interrupts += 1

    signal.signal(signal.SIGINT, count)
    os.write(tell, b"+")
    wait_for("go")
    deadline = time.time() + 30
    while not interrupts and time.time() < deadline:
        time.sleep(0.05)
    os.write(tell, b"" if interrupts else b"the job got no ^C; ")
    os._exit(0)


def leader(slave, tell):
    os.setsid()
    # Born before the session has its terminal: CRIU gives that to the leader alone.
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        job(tell)
    while os.getpgid(child) != child:
        time.sleep(0.01)
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    own = os.open("/dev/tty", os.O_RDWR)
    known = termios.tcgetattr(slave)
    os.write(slave, b"said " + nonce + b"\n")
    os.tcsetpgrp(slave, child)
    with open("leader", "w") as file:
        file.write(f"{os.getpid()} {child}")
    os.write(tell, b"+")
    wait_for("go")
    for name, fd in (("the slave", slave), ("/dev/tty", own)):
        expect(f"termios of {name}", termios.tcgetattr(fd), known)
        expect(f"window of {name}", window(fd), size)
        expect(f"foreground of {name}", os.tcgetpgrp(fd), child)
        expect(f"session of {name}", struct.unpack("i", fcntl.ioctl(fd, get_session, bytes(4)))[0], os.getpid())
        expect(f"device of {name}", os.fstat(fd).st_rdev, os.makedev(5, 0) if fd == own else os.stat(os.ttyname(slave)).st_rdev)
    # Only the foreground may read, and the holder has to see first who that was.
    wait_for("typed")
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(slave, os.getpgrp())
    expect("the first line", read(slave, len(line)), line)
    expect("the second line", read(own, len(rest) + 4), rest + b"end\n")
    os.tcsetpgrp(own, child)
    os.write(tell, "; ".join(errors).encode() + b"\n")
    os.waitpid(child, 0)
    os._exit(0)


def main():
    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[0] |= termios.IXANY
    attributes[0] &= ~termios.IXON
    attributes[3] &= ~termios.ECHO
    attributes[6][termios.VEOL2] = b"\x1c"
    attributes[6][termios.VQUIT] = b"\x1e"
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    known = termios.tcgetattr(slave)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size))
    os.fchown(slave, 1234, 5678)
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        leader(slave, tell)
    if read(hear, 2, 60) != b"++":
        sys.exit("the others do not start")
    os.write(master, line + rest)
    # The line discipline takes it in its own time.
    while struct.unpack("i", fcntl.ioctl(slave, termios.FIONREAD, bytes(4)))[0] != len(line):
        time.sleep(0.01)
    with open("leader") as file:
        others = file.read()
    job_id = int(others.split()[1])
    with open("new", "w") as file:
        file.write(f"{os.getpid()} {others}\n")
    os.rename("new", "ready")
    wait_for("go")
    expect("termios of the master", termios.tcgetattr(master), known)
    expect("window of the master", window(master), size)
    expect("foreground of the master", os.tcgetpgrp(master), job_id)
    status = os.stat(os.ttyname(slave))
    expect("owner of the slave", (status.st_uid, status.st_gid), (1234, 5678))
    said = b"said " + nonce + b"\r\n"
    expect("output", read(master, len(said)), said)
    os.write(master, b"end\n")
    open("typed", "w").close()
    told = b""
    while not told.endswith(b"\n"):
        told += read(hear, 1, 30) or b"the leader says nothing\n"
    os.write(master, b"\x03")
    os.waitpid(child, 0)
    os.set_blocking(hear, False)
    try:
        told += os.read(hear, 4096)
    except BlockingIOError:
        pass
    found = [text for text in errors + [told.decode().strip()] if text]
    with open("unfinished", "w") as file:
        file.write("; ".join(found) or "as it was: termios, window, owner, unread input and output, session, foreground, ^C")
        file.write("\n")
    os.rename("unfinished", "result")


main()
