/// What runs in main just before the crash, and writes down what the living kernel and CRIU say of the protected processes.
enum TruthScript {
    /// Python, which main has. Its arguments: the directory to write to, and the groups that hold still.
    static let text = #"""
        # Records what /proc says of each process of the protected groups, and what CRIU makes of those that hold still.
        # Arguments: DIRECTORY STILL…, the groups that hold still; their processes are stopped first.
        import json, os, signal, subprocess, sys, time, zlib

        PLAIN = """status stat statm maps smaps limits cgroup environ cmdline auxv comm personality oom_score_adj loginuid
        timerslack_ns timers uid_map gid_map setgroups mountinfo""".split()
        OF_THREADS = "status stat comm".split()
        LINKS = "exe cwd root".split()


        def read(path):
            # Not every kernel has every file, and a process may end at any moment: what is not there is not recorded.
            try:
                with open(path, "rb") as file:
                    return file.read()
            except OSError:
                return None


        def keep(source, target):
            data = read(source)
            if data is not None:
                with open(target, "wb") as file:
                    file.write(data)


        def link(path):
            try:
                return os.readlink(os.fsencode(path))
            except OSError:
                return None


        def names(path):
            try:
                return sorted(os.listdir(path), key=lambda name: (len(name), name))
            except OSError:
                return []


        def processes(group):
            found = []
            for directory, _, _ in os.walk("/sys/fs/cgroup/xenpr/" + group):
                found += [int(pid) for pid in (read(directory + "/cgroup.procs") or b"").split()]
            return sorted(found)


        def state(path):
            text = read(path + "/stat")
            return text[text.rindex(b")") + 2:][:1].decode() if text else "X"


        def stop(pids):
            """Stops processes, and returns those that were not stopped before."""
            own = [pid for pid in pids if state("/proc/%d" % pid) not in "TZX"]
            for pid in own:
                os.kill(pid, signal.SIGSTOP)
            for pid in own:
                while any(state("/proc/%d/task/%s" % (pid, tid)) not in "TZX" for tid in names("/proc/%d/task" % pid)):
                    time.sleep(0.01)
            return own


        def pages(pid, target):
            """A line for each present page that is the process's own: its address and the CRC-32 of its contents."""
            with open("/proc/%d/pagemap" % pid, "rb") as table, open("/proc/%d/mem" % pid, "rb", 0) as memory, open(target, "w") as out:
                for line in (read("/proc/%d/maps" % pid) or b"").split(b"\n"):
                    if not line or b"[vsyscall]" in line or b"[vvar]" in line:
                        continue
                    start, end = (int(part, 16) for part in line.split()[0].split(b"-"))
                    table.seek(start // 4096 * 8)
                    entries = table.read((end - start) // 4096 * 8)
                    for index in range(len(entries) // 8):
                        entry = int.from_bytes(entries[8 * index:8 * index + 8], "little")
                        # Bit 63: present; 62: swapped; 61: of a file or shared; the rest is the frame's number.
                        if entry >> 62 == 0 or entry >> 61 & 1:
                            continue
                        memory.seek(start + 4096 * index)
                        try:
                            contents = memory.read(4096)
                        except OSError:
                            continue
                        out.write("%x %08x %x\n" % (start + 4096 * index, zlib.crc32(contents), entry & (1 << 55) - 1))


        def record(pid, target, still):
            source = "/proc/%d" % pid
            os.makedirs(target + "/task")
            os.makedirs(target + "/fdinfo")
            for name in PLAIN:
                keep(source + "/" + name, target + "/" + name)
            pairs = [(name, link(source + "/" + name)) for name in LINKS]
            for kind in ("fd", "ns"):
                pairs += [(kind + "/" + name, link(source + "/" + kind + "/" + name)) for name in names(source + "/" + kind)]
            with open(target + "/links", "wb") as file:
                for name, destination in pairs:
                    if destination is not None:
                        file.write(name.encode() + b"\0" + destination + b"\0")
            for name in names(source + "/fdinfo"):
                keep(source + "/fdinfo/" + name, target + "/fdinfo/" + name)
            for tid in names(source + "/task"):
                os.makedirs(target + "/task/" + tid)
                for name in OF_THREADS:
                    keep(source + "/task/" + tid + "/" + name, target + "/task/" + tid + "/" + name)
                try:
                    scheduling = {
                        "policy": os.sched_getscheduler(int(tid)), "priority": os.sched_getparam(int(tid)).sched_priority,
                        "nice": os.getpriority(os.PRIO_PROCESS, int(tid)), "cpus": sorted(os.sched_getaffinity(int(tid)))}
                    with open(target + "/task/" + tid + "/scheduling", "w") as file:
                        json.dump(scheduling, file)
                except OSError:
                    pass
            if still:
                pages(pid, target + "/pages")


        def dump(group, root, target):
            """The images of CRIU's own dump, which is made with the options that the agent restores with."""
            os.makedirs(target)
            result = subprocess.run(
                ["criu", "dump", "--leave-running", "--tree", str(root), "--images-dir", target, "--manage-cgroups=soft", "--file-locks",
                 "--tcp-established", "--network-lock", "nftables", "--log-file", target + "/dump.log", "-v3"], stdin=subprocess.DEVNULL)
            return result.returncode


        # khugepaged would give processes that hold still whole huge pages for the few that they have touched.
        with open("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "w") as file:
            file.write("3600000")
        directory, still = sys.argv[1], sys.argv[2:]
        os.makedirs(directory + "/proc")
        begin = time.monotonic()
        stopped, groups = [], {}
        for group in sorted(names("/sys/fs/cgroup/xenpr")):
            if not os.path.isdir("/sys/fs/cgroup/xenpr/" + group):
                continue
            pids = processes(group)
            groups[group] = {"pids": pids, "still": group in still}
            if group in still:
                stopped += stop(pids)
        # CRIU comes first: what it does to the processes must not come between the record and the crash.
        for group, entry in groups.items():
            if entry["still"] and entry["pids"]:
                entry["criu"] = dump(group, min(entry["pids"]), directory + "/criu/" + group)
        for group, entry in groups.items():
            for pid in entry["pids"]:
                if os.path.exists("/proc/%d" % pid):
                    record(pid, directory + "/proc/%d" % pid, entry["still"])
        with open(directory + "/truth.json", "w") as file:
            json.dump({"schema": "xenpr.truth/1", "groups": groups, "stopped": stopped, "seconds": time.monotonic() - begin}, file)
        """#
}
