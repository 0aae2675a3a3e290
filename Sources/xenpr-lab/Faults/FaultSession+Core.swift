extension FaultSession {
    /// What `xl dump-core` makes of the dead domain gives the same lists and the same checkpoint as the domain itself, which is recovered afterwards.
    func dumpedCore() async throws -> String {
        let group = "dumped"
        let directory = "/var/lib/xenpr-lab/faults/\(group)"
        // It is never on the CPU, whose vector registers no core has.
        let program = """
            import os, time
            memory = os.urandom(32 << 20)
            with open("ready", "w") as file: file.write(str(os.getpid()))
            time.sleep(1000000)

            """
        try await main.require(
            "rm -rf \(directory) && mkdir -p \(directory) && cat > \(directory)/program.py", input: program)
        let process = try await main.require(
            """
            cd \(directory)
            xenpr-agent run --group \(group) --cwd \(directory) --log \(directory)/log -- sh -c 'python3 program.py &' >&2
            until [ -s ready ]; do sleep 0.1; done
            sync
            cat ready
            """, timeout: .seconds(240))
        let known = try await XenRecoveries.all(in: control).count
        // It would have the dead domain destroyed.
        try await machine.killDaemon()
        try await machine.crashUnwatched()
        let place = "/var/tmp/core"
        let facts = try await control.require(
            """
            set -e
            mkdir \(place)
            xl dump-core main \(place)/main.core >&2
            for what in ps vm files; do
                xenpr inspect xen:main $what > \(place)/domain.$what
                xenpr inspect \(place)/main.core $what > \(place)/core.$what
                cmp \(place)/domain.$what \(place)/core.$what
            done
            # Who brought the kernel down was on a CPU.
            caller=$(awk '$3 == "R" && $NF ~ /sh$/ { print $1 }' \(place)/domain.ps)
            [ -n "$caller" ]
            for pid in $caller; do
                for source in xen:main \(place)/main.core; do
                    xenpr inspect $source regs $pid | awk 'NR > 1 && $3 != "xstate" { print $3, $4 }' > \(place)/$(basename $source).$pid
                done
                grep -q '^fs_base 0x[1-9a-f]' \(place)/main.core.$pid
                cmp \(place)/xen:main.$pid \(place)/main.core.$pid
            done
            xenpr plan \(place)/main.core > \(place)/plan || [ $? = 2 ]
            grep -q '^\(group) .* full ' \(place)/plan
            for source in xen:main \(place)/main.core; do
                xenpr salvage $source --group \(group) --id r1 --to \(place)/$(basename $source).saved 2>&1
            done
            diff -r -x recovery.json \(place)/xen:main.saved \(place)/main.core.saved
            xenpr diff \(place)/xen:main.saved/groups/\(group)/images \(place)/main.core.saved/groups/\(group)/images >&2
            stat -c '%s' \(place)/main.core
            wc -l < \(place)/core.vm
            cat \(place)/main.core.saved/groups/\(group)/images/pages-*.img | wc -c
            rm -r \(place)
            """, timeout: .seconds(1500)
        ).split(whereSeparator: \.isNewline).suffix(3).compactMap { Int($0) }
        try expect(facts.count == 3 && facts[2] > 32 << 20, "the checkpoint out of the core has \(facts) bytes of pages")
        try await machine.startDaemon(limits: FaultSession.quickly)
        try await machine.seeCrash(by: "sysrq, while nobody watched", after: known)
        _ = try await machine.recover(by: .minor)
        try await main.require(
            "tr '\\0' ' ' < /proc/\(process.split(whereSeparator: \.isNewline).last ?? "")/cmdline | grep -q program.py")
        return
            "a core of \(facts[0] >> 20) MiB lists \(facts[1]) areas and gives \(facts[2] >> 20) MiB of pages as the domain does, which came back afterwards"
    }
}
