"""Inserts rows 1, 2, 3, … in a transaction each, and notes the newest committed number in a file of one fixed-size line."""

import hashlib
import os
import sqlite3
import time

database = sqlite3.connect("data.db", isolation_level=None)
database.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, pid INTEGER, text TEXT)")
state = os.open("state", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
number = 0
while True:
    number += 1
    text = hashlib.sha256(b"row %d" % number).hexdigest() * (1 + number % 20)
    database.execute("BEGIN IMMEDIATE")
    database.execute("INSERT INTO rows VALUES (?, ?, ?)", (number, os.getpid(), text))
    database.execute("COMMIT")
    os.pwrite(state, f"{os.getpid()} {number}".ljust(63).encode() + b"\n", 0)
    time.sleep(0.1)
