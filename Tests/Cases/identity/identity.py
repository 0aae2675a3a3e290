"""A parent with many unusual attributes, and two children: one in a session, one in a process group of its own."""

import ctypes
import os
import resource
import signal
import time

libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NAME, PR_CAPBSET_DROP = 15, 24
resource.setrlimit(resource.RLIMIT_NOFILE, (333, 444))
resource.setrlimit(resource.RLIMIT_CORE, (0, 12345))
resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, resource.RLIM_INFINITY))
os.nice(7)
os.sched_setaffinity(0, {0})
os.umask(0o027)
os.makedirs("inner", exist_ok=True)
os.chdir("inner")
libc.prctl(PR_CAPBSET_DROP, 27, 0, 0, 0)  # CAP_MKNOD
with open("/proc/self/timerslack_ns", "w") as file:
    file.write("70000")
with open("/proc/self/coredump_filter", "w") as file:
    file.write("0x7f")
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("123")
libc.syscall(251, 1, 0, 2 << 13 | 6)  # ioprio_set: best effort, level 6
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    libc.prctl(PR_SET_NAME, b"own session", 0, 0, 0)
elif os.fork() == 0:
    os.setpgid(0, 0)
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(11))
    # Another user, with some groups and without capabilities.
    os.setgroups([4, 24, 1234])
    os.setresgid(1001, 1002, 1003)
    os.setresuid(1001, 1001, 1003)
    libc.prctl(PR_SET_NAME, b"own group", 0, 0, 0)
else:
    libc.prctl(PR_SET_NAME, b"all's parent", 0, 0, 0)
while True:
    time.sleep(1)
