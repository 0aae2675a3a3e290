"""Waits for the server and stores the keys."""

import time

from redis import KEYS, Redis, each_thousand, key, value

deadline = time.monotonic() + 60
while True:
    try:
        server = Redis()
        break
    except OSError:
        if time.monotonic() > deadline:
            raise SystemExit("redis-server does not answer")
        time.sleep(0.1)
for numbers in each_thousand():
    words = [b"MSET"]
    for number in numbers:
        words += [key(number), value(number)]
    assert server.call(*words) == b"OK"
assert server.call(b"DBSIZE") == b"%d" % KEYS
