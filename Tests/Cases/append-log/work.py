import os
import time

number = 0
while True:
    number += 1
    with open("log", "a") as log:
        log.write(f"{number} {os.getpid()}\n")
    time.sleep(0.1)
