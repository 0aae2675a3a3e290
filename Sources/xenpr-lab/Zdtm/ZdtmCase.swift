import Foundation

/// A program of CRIU's test suite as a case of the lab.
enum ZdtmCase {
    /// Writes the case's directory, with a copy of the program.
    static func write(_ program: ZdtmProgram, from source: String, to parent: String) async throws -> CaseDefinition {
        let directory = "\(parent)/\(caseName(of: program))"
        let manager = FileManager.default
        try manager.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try manager.copyItem(atPath: "\(source)/\(program.name)", toPath: "\(directory)/\(program.name)")
        for (name, text) in [
            ("start", start(program)), ("check", check(program)), ("case.toml", "timeout_s = 40\n"),
        ] {
            try text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
            try manager.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(directory)/\(name)")
        }
        guard let definition = try CaseDefinition.load([directory]).first else { throw LabFailure("cannot read \(directory)") }
        return definition
    }

    static func caseName(of program: ZdtmProgram) -> String { program.name.replacingOccurrences(of: "+", with: ".plus") }

    /// As zdtm.py does it: without "suid" the program gives its privileges up, for these numbers, and must be able to write where it is.
    private static func start(_ program: ZdtmProgram) -> String {
        """
        #!/bin/sh
        cd "$CASE" || exit 1
        chmod a+rwx . && mkdir -p /zdtm && umask 022
        \(program.flags.contains("suid") ? ":" : "export ZDTM_UID=18943 ZDTM_GID=58467 ZDTM_GROUPS='27495 48244'")
        \(program.command) < /dev/null > start.log 2>&1 || { tail -n 1 start.log \(program.name).out* 2> /dev/null; exit 1; }
        [ -s \(program.name).pid ] || { echo "it left no PID"; exit 1; }

        """
    }

    private static func check(_ program: ZdtmProgram) -> String {
        """
        #!/bin/sh
        cd "$CASE" || exit 1
        pid=$(cat \(program.name).pid)
        [ -d /proc/$pid ] || { echo "process $pid is not there"; exit 1; }
        kill -TERM $pid
        timeout 100 tail --pid=$pid -f /dev/null || { echo "process $pid does not end: $(cat /proc/$pid/wchan)"; kill -KILL $pid; exit 1; }
        if tail -n 1 \(program.name).out | grep -qw PASS; then echo PASS; exit 0; fi
        grep -hE 'FAIL|ERR' \(program.name).out* | tail -n 1 | grep . || { cat \(program.name).out* | tail -n 1 | grep . || echo "it said nothing"; }
        exit 1

        """
    }
}
