import Foundation

/// A program of CRIU's test suite as a case of the lab.
enum ZdtmCase {
    /// Writes the case's directory, with a copy of the program.
    static func write(_ program: ZdtmProgram, from source: String, to parent: String, flavor: ZdtmFlavor) async throws
        -> CaseDefinition
    {
        let directory = "\(parent)/\(caseName(of: program))"
        let manager = FileManager.default
        try manager.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try manager.copyItem(atPath: "\(source)/\(program.name)", toPath: "\(directory)/\(program.name)")
        let (start, check) =
            switch flavor {
            case .h: (startOnHost(program), checkOnHost(program))
            case .ns: (startInNamespaces(program), checkInNamespaces(program))
            }
        if program.hasHook {
            try manager.copyItem(atPath: "\(source)/\(program.name).hook", toPath: "\(directory)/\(program.name).hook")
        }
        for (name, text) in [("start", start), ("check", check), ("case.toml", "timeout_s = \(timeoutSeconds(flavor))\n")] {
            try text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
            try manager.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(directory)/\(name)")
        }
        guard let definition = try CaseDefinition.load([directory]).first else { throw LabFailure("cannot read \(directory)") }
        return definition
    }

    /// Those in namespaces of their own copy a root together first, as many at once as share a crash.
    private static func timeoutSeconds(_ flavor: ZdtmFlavor) -> Int { flavor == .ns ? 90 : 40 }

    static func caseName(of program: ZdtmProgram) -> String { program.name.replacingOccurrences(of: "+", with: ".plus") }

    /// As zdtm.py does it: without "suid" the program gives its privileges up, for these numbers, and must be able to write where it is.
    private static func run(_ program: ZdtmProgram) -> String {
        """
        chmod a+rwx . && mkdir -p /zdtm && umask 022
        \(program.flags.contains("suid") ? ":" : "export ZDTM_UID=18943 ZDTM_GID=58467 ZDTM_GROUPS='27495 48244'")
        \(program.command) < /dev/null > start.log 2>&1 || {
            cat \(program.name).out* start.log 2> /dev/null | grep -E 'ERR|FAIL|[Cc]annot|ailed' | head -n 1 | grep . || tail -n 1 start.log; exit 1; }
        [ -s \(program.name).pid ] || { echo "it left no PID"; exit 1; }
        """
    }

    private static func startOnHost(_ program: ZdtmProgram) -> String {
        """
        #!/bin/sh
        cd "$CASE" || exit 1
        \(run(program))

        """
    }

    /// The program makes the namespaces itself, and goes into a root that zdtm.py would have made: with the libraries and programs it needs, and a few
    /// devices.
    private static func startInNamespaces(_ program: ZdtmProgram) -> String {
        """
        #!/bin/sh
        cd "$CASE" || exit 1
        export ZDTM_NEWNS=1 ZDTM_ROOT="$CASE/root"
        mkdir -p root/zdtm/static && mv \(program.name) root/zdtm/static/ || exit 1
        mount --bind root root && mount --make-slave root && cd root || exit 1
        mkdir -p bin sbin etc lib lib64 dev/pts dev/net tmp usr proc run && chmod a+rwx . *
        for name in bin sbin lib lib64; do ln -s ../$name usr/$name; done
        mknod -m 666 dev/tty c 5 0; mknod -m 666 dev/null c 1 3; mknod -m 666 dev/net/tun c 10 200; mknod -m 666 dev/autofs c 10 235
        lists=/run/xenpr-lab-libraries; mkdir -p $lists
        libraries() { list=$lists/$(echo "$1" | tr / _); [ -s "$list" ] || {
                ldd "$1" | sed -n 's/.*=> //; s/^[ \\t]*\\(\\/[^ ]*\\) .*/\\1/p' > "$list.$$"; mv "$list.$$" "$list"; }
            cp -Ln --parents $(cat "$list") .; }
        program() { for file; do if [ -e "$file" ]; then mkdir -p ".${file%/*}"; cp -Ln "$file" ".$file"; libraries "$file"; return; fi; done
            echo "it needs $*, which is not here"; exit 1; }
        libraries zdtm/static/\(program.name)
        \(program.dependencies.map { "program \($0.replacingOccurrences(of: "|", with: " "))" }.joined(separator: "\n"))
        [ "$(cat /proc/sys/vm/nr_hugepages)" -ge 16 ] || echo 16 > /proc/sys/vm/nr_hugepages
        \(program.hasHook ? hookAfterStart(program) : "")
        cd zdtm/static || exit 1
        \(run(program))
        \(program.hasHook ? "wait $hook || { tail -n 1 ../../hook.log; exit 1; }" : "")

        """
    }

    /// What zdtm.py runs while the program starts: it gives the program what comes from outside of its namespaces.
    private static func hookAfterStart(_ program: ZdtmProgram) -> String {
        "(exec \"$CASE/\(program.name).hook\" --post-start) < /dev/null > hook.log 2>&1 & hook=$!"
    }

    private static func checkOnHost(_ program: ZdtmProgram) -> String {
        """
        #!/bin/sh
        cd "$CASE" || exit 1
        pid=$(cat \(program.name).pid)
        [ -d /proc/$pid ] || { echo "process $pid is not there"; exit 1; }
        \(check(program))

        """
    }

    /// The init of its pid namespace passes the signal on.
    private static func checkInNamespaces(_ program: ZdtmProgram) -> String {
        """
        #!/bin/sh
        group=/sys/fs/cgroup/xenpr/$(basename "$CASE")
        cd "$CASE/root/zdtm/static" || exit 1
        pid=$(for pid in $(cat "$group/cgroup.procs"); do grep -lE '^NSpid:.*[[:space:]]1$' /proc/$pid/status; done | head -n 1 | cut -d / -f 3)
        [ -n "$pid" ] || { echo "its init is not there"; exit 1; }
        \(program.hasHook ? "(cd ../.. && \"$CASE/\(program.name).hook\" --post-restore) < /dev/null || { echo 'its hook does not find what is outside'; exit 1; }" : "")
        \(check(program))

        """
    }

    private static func check(_ program: ZdtmProgram) -> String {
        """
        kill -TERM $pid
        timeout 100 tail --pid=$pid -f /dev/null || { echo "process $pid does not end: $(cat /proc/$pid/wchan)"; kill -KILL $pid; exit 1; }
        if tail -n 1 \(program.name).out | grep -qw PASS; then echo PASS; exit 0; fi
        grep -hE 'FAIL|ERR' \(program.name).out* | tail -n 1 | grep . || { cat \(program.name).out* | tail -n 1 | grep . || echo "it said nothing"; }
        exit 1
        """
    }
}
