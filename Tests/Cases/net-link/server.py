# In a network namespace with a device that leads to a bridge of the guest. It listens there; when the file "go" appears it compares its addresses and routes with
# what they were, and connects to the guest through the bridge, to the port that the file names.
import os
import socket
import subprocess
import threading
import time


def run(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


settings = {
    "ipv4/ip_unprivileged_port_start": "0",
    "ipv4/conf/all/log_martians": "1",
    "ipv4/conf/eth0/rp_filter": "2",
    "ipv4/ip_local_port_range": "20000 30000",
    "ipv4/ip_local_reserved_ports": "8080,9000-9010",
    "ipv4/ping_group_range": "0 1000",
    "core/somaxconn": "99",
    "ipv4/tcp_congestion_control": "reno",
    "unix/max_dgram_qlen": "77",
    # Times in seconds, hundredths of one, and milliseconds.
    "ipv4/tcp_keepalive_time": "77",
    "ipv4/neigh/eth0/locktime": "52",
    "ipv4/neigh/eth0/delay_first_probe_time": "9",
    "ipv4/neigh/eth0/retrans_time_ms": "1204",
}


def setting(path):
    with open(f"/proc/sys/net/{path}") as file:
        return " ".join(file.read().split())


def network():
    # The number of the other end is the guest's affair.
    link = run("-o", "link", "show", "dev", "eth0").replace("\\", " ").split(" ", 2)[2].split()
    return [
        [word for word in link if not word.isdigit() or len(word) > 3],
        sorted(line for line in run("-4", "-o", "address").splitlines()),
        run("route", "show").splitlines(),
        run("route", "show", "table", "7").splitlines(),
        sorted(line for line in run("-6", "route", "show").splitlines() if "proto kernel" not in line),
        {path: setting(path) for path in settings},
        # One that routers could have told is not there, and that of the link is made of the hardware's.
        sorted(line.split()[3] for line in run("-6", "-o", "address", "show", "dev", "eth0").splitlines()),
    ]


open("waiting", "w").close()
while not os.path.exists("linked"):
    time.sleep(0.02)
for command in [
    "link set lo up",
    "address add 10.200.9.9/32 dev lo",
    "link set eth0 address 02:00:00:c8:07:02 mtu 1400 up",
    "address add 10.200.7.2/24 broadcast + dev eth0",
    "address add 10.200.8.2/30 dev eth0 label eth0:8",
    "address add fe80::7/64 dev eth0 nodad",
    "address add fd00:7::2/64 dev eth0 nodad",
    "-6 route add default via fd00:7::1",
    "-6 route add fd00:88::/32 dev eth0 metric 50",
    "-6 route add fd00:99::/48 via fe80::9 dev eth0 src fd00:7::2",
    "-6 route add blackhole fd00:66::/32",
    "route add default via 10.200.7.1",
    "route add 192.0.2.0/24 via 10.200.7.1 metric 50 src 10.200.8.2",
    "route add 198.51.100.0/24 dev eth0 scope link",
    "route add blackhole 203.0.113.0/24",
    "route add 10.77.0.0/16 via 10.200.7.1 table 7",
]:
    run(*command.split())
for path, value in settings.items():
    with open(f"/proc/sys/net/{path}", "w") as file:
        file.write(value)
assert all(setting(path) == value for path, value in settings.items())
# Until the link has its own address of IPv6, which takes a moment.
deadline = time.monotonic() + 30
while "tentative" in run("-6", "address", "show", "dev", "eth0") and time.monotonic() < deadline:
    time.sleep(0.1)
before = network()

listener = socket.create_server(("10.200.7.2", 80))
count, verified, wrong = 0, 0, ""


def serve():
    while True:
        connection, peer = listener.accept()
        connection.sendall(f"{connection.recv(100).decode()} {peer[0]} {count}".encode())
        connection.close()


def verify():
    problems = [f"{old} became {new}" for old, new in zip(before, network()) if old != new]
    try:
        with socket.create_connection(("10.200.7.1", int(open("go").read())), timeout=30) as connection:
            connection.sendall(b"from within")
            if connection.recv(100) != b"from within 10.200.7.2":
                problems.append("the guest answers something else")
    except OSError as error:
        problems.append(f"the guest cannot be reached: {error}")
    return "; ".join(problems)


threading.Thread(target=serve, daemon=True).start()
state = os.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
while True:
    count += 1
    if not verified and os.path.exists("go"):
        wrong, verified = verify(), 1
    os.pwrite(state, f"{os.getpid()} {count} {verified} {wrong}".ljust(4095)[:4095].encode() + b"\n", 0)
    time.sleep(0.02)
