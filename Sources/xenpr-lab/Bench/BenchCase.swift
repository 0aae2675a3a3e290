import Foundation

/// The case whose recovery is measured: a process with random memory, whose hash is compared afterwards.
enum BenchCase {
    private static let start = """
        #!/bin/sh
        python3 memory.py SIZE > /dev/null 2>&1 < /dev/null &
        until [ -s ready ]; do sleep 0.2; done

        """

    private static let memory = """
        import hashlib, os, signal, sys
        data = bytearray()
        while len(data) < int(sys.argv[1]) << 20: data += os.urandom(1 << 20)
        def answer(*_):
            with open("answer.new", "w") as file: file.write(hashlib.sha256(data).hexdigest())
            os.rename("answer.new", "answer")
        signal.signal(signal.SIGUSR1, answer)
        with open("ready.new", "w") as file: file.write(f"{os.getpid()} {hashlib.sha256(data).hexdigest()}")
        os.rename("ready.new", "ready")
        while True: signal.pause()

        """

    private static let check = """
        #!/bin/sh
        read -r pid hash < ready
        kill -USR1 "$pid" || exit 1
        tries=0
        until [ -s answer ]; do tries=$((tries + 1)); [ $tries -lt 600 ] || { echo "no answer"; exit 1; }; sleep 0.2; done
        [ "$(cat answer)" = "$hash" ] && echo "the memory is as it was"

        """

    static func write(megabytes: Int, to directory: String) throws -> CaseDefinition {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let files = [
            ("start", start.replacingOccurrences(of: "SIZE", with: String(megabytes))), ("check", check), ("memory.py", memory),
            ("case.toml", "expect = \"full\"\n"),
        ]
        for (name, text) in files {
            try text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(directory)/\(name)")
        }
        guard let definition = try CaseDefinition.load([directory]).first else {
            throw LabFailure("cannot read the case that was written to \(directory)")
        }
        return definition
    }
}
