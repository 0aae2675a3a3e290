# In a network namespace of its own, whose packet filter it makes. When the file "go" appears it compares what nft and iptables say of it with what they have said before, and tries it.
import json
import os
import socket
import subprocess
import time


def run(*command, input=None):
    result = subprocess.run(command, capture_output=True, text=True, input=input)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {result.stderr}")
    return result.stdout


def plain(value):
    # Handles are numbers of the kernel's, times pass, and elements of sets have no order.
    if isinstance(value, dict):
        kept = {key: plain(item) for key, item in value.items() if key not in ("handle", "expires", "metainfo")}
        if isinstance(kept.get("elem"), list):
            kept["elem"].sort(key=json.dumps)
        return kept
    return [plain(item) for item in value] if isinstance(value, list) else value


def expirations(value):
    if isinstance(value, dict):
        own = [value["expires"]] if "expires" in value else []
        return own + [time for item in value.values() for time in expirations(item)]
    return [time for item in value for time in expirations(item)] if isinstance(value, list) else []


def rules():
    listing = json.loads(run("nft", "-j", "list", "ruleset"))["nftables"]
    # Without the lines that tell the time.
    saved = [line for line in run("iptables-nft-save", "-c").splitlines() if not line.startswith("#")]
    # Expressions as the kernel has them, some of which nft has no words for.
    raw = [line for line in run("nft", "--debug=netlink", "list", "ruleset").splitlines() if line.startswith("  [")]
    return [plain(item) for item in listing], expirations(listing), saved, raw


def listener(port):
    return socket.create_server(("127.0.0.1", port))


def reaches(port, at=None):
    with socket.socket() as client:
        client.settimeout(1)
        try:
            client.connect(("127.0.0.1", port))
        except TimeoutError:
            return "dropped"
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            return os.strerror(error.errno)
        return f"port {client.getpeername()[1]}" if at is None else f"port {at.accept()[0].getsockname()[1]}"


def talk():
    datagrams.sendto(b"datagram", ("127.0.0.1", 9))
    datagrams.settimeout(10)
    assert datagrams.recv(100) == b"datagram"


def difference(old, new):
    for before, after in zip(old, new):
        if before != after:
            return f"it was {json.dumps(before)} and is {json.dumps(after)}"
    return f"there were {len(old)} things and are {len(new)}" if len(old) != len(new) else ""


def problem():
    found, ends, iptables, raw = rules()
    wrong = difference(noted[0], found) or difference(noted[2], iptables) or difference(noted[3], raw)
    if wrong:
        return wrong
    if len(ends) != len(noted[1]) or any(now > before for before, now in zip(sorted(noted[1]), sorted(ends))):
        return f"elements of sets end in {ends} seconds, it was {noted[1]}"
    expected = [
        (7100, None, "dropped"), (7102, None, "dropped"), (7103, None, "refused"), (7104, None, "port 7104"),
        (7106, None, "dropped"), (7112, None, "refused"), (7150, None, "dropped"), (7165, None, "dropped"),
        (7170, None, "port 7170"), (7200, listeners[7201], "port 7201"), (7202, listeners[7203], "port 7203"),
        (2003, None, "dropped"), (7001, None, "refused"), (7002, None, "port 7002"),
    ]
    for port, at, wanted in expected:
        happened = reaches(port, at)
        if happened != wanted:
            return f"port {port}: {happened}, not {wanted}"
    talk()
    counted = int(run("nft", "list", "counter", "inet", "guard", "seen").split("packets ")[1].split()[0])
    return "" if counted == 4 else f"{counted} datagrams are counted, not 4"


run("ip", "link", "set", "lo", "up")
run("nft", "-f", "rules.nft")
# All at once: the kernel waits for its other processors at the end of each batch, and they have much to do.
run("iptables-nft-restore", input="""*filter
:own -
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment answers -j ACCEPT
-A INPUT -p tcp -m multiport --dports 1000,2000:2005 -m comment --comment several -j DROP
-A INPUT -p tcp -m tcp --dport 7001 -j REJECT --reject-with tcp-reset
-A INPUT -p udp -m udp --dport 7003 -m limit --limit 3/min -j LOG --log-prefix udp --log-level 7
-A INPUT ! -p tcp -m addrtype --dst-type BROADCAST -j DROP
-A own -s 198.51.100.0/24 -m mac --mac-source 02:00:00:00:00:01 -j RETURN
-A FORWARD -i nowhere -g own
COMMIT
*nat
-A POSTROUTING -o nowhere -j MASQUERADE
-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 192.0.2.3:8080
COMMIT
*mangle
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A OUTPUT -m owner --uid-owner 4000 -j MARK --set-xmark 0x5/0xff
COMMIT
""")
listeners = {
    port: listener(port)
    for port in (7100, 7102, 7103, 7104, 7106, 7112, 7150, 7165, 7170, 7201, 7203, 2003, 7001, 7002)
}
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 9))
for _ in range(3):
    talk()
noted = rules()
state = os.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
count, verified, wrong = 0, 0, ""
while True:
    count += 1
    if not verified and os.path.exists("go"):
        try:
            wrong = problem()
        except Exception as error:
            wrong = repr(error)
        verified = len(noted[0]) + len(noted[2])
    os.pwrite(state, f"{os.getpid()} {count} {verified} {wrong}"[:1000].ljust(1000).encode() + b"\n", 0)
    time.sleep(0.02)
