import Foundation

/// A group in main that counts, and tells so to whom asks: its process is known by a number that it has drawn by itself.
struct FaultWork: Sendable {
    let group: String
    let main: SSHShell

    /// What the process has last said of itself.
    struct Word: Sendable, Equatable {
        var pid: String
        var nonce: String
        var count: Int
    }

    private var directory: String { "/var/lib/xenpr-lab/faults/\(group)" }

    /// Counts; holds so many MiB of random memory; listens on a port; panics the kernel by a write of its own once the file `go` is there.
    private static let program = """
        import os, socket, sys, time
        megabytes, port = int(sys.argv[1]), int(sys.argv[2])
        memory = [os.urandom(1 << 20) for _ in range(megabytes)]
        if port:
            listener = socket.socket()
            listener.bind(("0.0.0.0", port))
            listener.listen()
        word = os.open("word", os.O_RDWR | os.O_CREAT, 0o644)
        nonce, count = os.urandom(8).hex(), 0
        while True:
            count += 1
            os.pwrite(word, f"{os.getpid()} {nonce} {count}".ljust(60).encode() + b"\\n", 0)
            if os.path.exists("go"):
                os.unlink("go")
                os.sync()
                try:
                    os.write(os.open("/proc/sysrq-trigger", os.O_WRONLY), b"c")
                    answer = "no error"
                except OSError as error:
                    answer = f"errno {error.errno}"
                with open("answer", "w") as file: file.write(answer)
            time.sleep(0.05)

        """

    /// Starts the group anew.
    static func start(_ group: String, in main: SSHShell, megabytes: Int = 0, port: Int = 0) async throws -> FaultWork {
        let work = FaultWork(group: group, main: main)
        try await main.require(
            "rm -rf \(work.directory) && mkdir -p \(work.directory) && cat > \(work.directory)/program.py", input: program)
        try await main.require(
            """
            cd \(work.directory)
            xenpr-agent run --group \(group) --cwd \(work.directory) --log \(work.directory)/log -- \
            sh -c 'python3 program.py \(megabytes) \(port) &' && until [ -s word ]; do sleep 0.1; done && sync
            """, timeout: .seconds(240))
        return work
    }

    func word() async throws -> Word {
        let text = try await main.require("cat \(directory)/word")
        let parts = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard parts.count == 3, let count = Int(parts[2]) else { throw LabFailure("\(group) has written \"\(text)\"") }
        return Word(pid: parts[0], nonce: parts[1], count: count)
    }

    /// Waits until the process of `before` has counted on.
    func goesOn(from before: Word) async throws {
        let now = try await word()
        guard now.pid == before.pid, now.nonce == before.nonce else {
            throw LabFailure("\(group) is another process: \(now) instead of \(before)")
        }
        _ = try await poll(every: .milliseconds(200), within: .seconds(60), for: "\(group) to count on") {
            try await word().count > max(now.count, before.count) ? true : nil
        }
    }

    /// Whether the process is there.
    func runs(_ word: Word) async throws -> Bool {
        try await main.run("tr '\\0' ' ' < /proc/\(word.pid)/cmdline 2> /dev/null | grep -q program.py").succeeded
    }

    /// Has the process write to /proc/sysrq-trigger itself.
    func panicFromInside() async throws {
        try await main.require("touch \(directory)/go && while [ -e \(directory)/go ]; do sleep 0.1; done")
    }

    /// What that write has returned to the process.
    func answer() async throws -> String {
        let main = main
        let file = "\(directory)/answer"
        return try await poll(every: .milliseconds(200), within: .seconds(60), for: "\(group) to say what its write returned") {
            try await main.readFile(file).flatMap { $0.isEmpty ? nil : $0 }
        }
    }
}
