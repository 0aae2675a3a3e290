/// How main's kernel is brought down from within.
enum CrashScript {
    /// Runs the trigger in main. Returns when the script has ended, which it does only for triggers that need a strike from outside
    /// too; for the others the connection hangs until the caller cancels this.
    static func run(_ trigger: Trigger, in main: SSHShell) async throws {
        _ = try await main.run(script(trigger), timeout: .seconds(180))
    }

    private static func script(_ trigger: Trigger) -> String {
        switch trigger {
        case .sysrq:
            "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"
        case .nmi:
            "echo 1 > /proc/sys/kernel/unknown_nmi_panic"
        case .oomPanic:
            // 2: panic also when the shortage is that of a cgroup. A small cgroup runs out at once; all of main's memory would do
            // so only after minutes in which the kernel drops and reads again every page of every program.
            """
            echo 2 > /proc/sys/vm/panic_on_oom
            mkdir -p /sys/fs/cgroup/xenpr-lab-hog && cd /sys/fs/cgroup/xenpr-lab-hog || exit
            echo 32M > memory.max
            echo 0 > memory.swap.max
            echo $$ > cgroup.procs
            exec python3 -c 'x = []
            while True: x.append(b"x" * (1 << 20))'
            """
        case .hung:
            // The watchdog is fed by an ordinary process, which gets no processor any more once each has a real-time task that
            // never waits.
            """
            modprobe i6300esb heartbeat=4 2> /dev/null
            [ -e /dev/watchdog ] || modprobe xen_wdt timeout=4
            exec 9> /dev/watchdog
            echo x >&9
            (while :; do echo x >&9; sleep 1; done) < /dev/null > /dev/null 2>&1 &
            echo -1 > /proc/sys/kernel/sched_rt_runtime_us
            for processor in $(seq "$(nproc)"); do
                chrt -f 99 sh -c 'while :; do :; done' < /dev/null > /dev/null 2>&1 &
            done
            wait
            """
        }
    }
}
