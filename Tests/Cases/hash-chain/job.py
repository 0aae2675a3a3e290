"""Computes h(i+1) = sha256(h(i), i), 10 links each 20 ms, and keeps the newest in a file of one fixed-size line."""

import hashlib
import os
import time

state = os.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
link, number = b"XenPR", 0
while True:
    for _ in range(10):
        link = hashlib.sha256(link + number.to_bytes(8, "little")).digest()
        number += 1
    os.pwrite(state, f"{os.getpid()} {number} {link.hex()}".ljust(127).encode() + b"\n", 0)
    time.sleep(0.02)
