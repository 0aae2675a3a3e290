import Foundation

/// A program of CRIU's own test suite (test/zdtm/static of its repository): it sets up one feature of the kernel, waits for SIGTERM, and then says
/// PASS or FAIL in its outfile.
struct ZdtmProgram: Sendable {
    let name: String
    /// How its makefile starts it: `./pipe00 --pidfile=pipe00.pid --outfile=pipe00.out`.
    let command: String
    /// What `NAME.desc` says, of which zdtm.py makes: where it can run (h: the host's own namespaces), and how.
    let flavors: Set<String>
    let flags: Set<String>

    /// The programs that have been built in a directory, and that its makefile knows how to start, in the order of their names.
    static func all(in directory: String) async throws -> [ZdtmProgram] {
        let names = try built(in: directory)
        guard !names.isEmpty else { throw LabFailure("\(directory) has no programs: run make in it first") }
        let commands = try await commands(of: names, in: directory)
        return try names.compactMap { name in
            guard let command = commands[name] else { return nil }
            let description = (try? String(contentsOfFile: "\(directory)/\(name).desc", encoding: .utf8)) ?? ""
            return ZdtmProgram(
                name: name, command: command, flavors: try words("flavor", of: description) ?? ["h", "ns", "uns"],
                flags: try words("flags", of: description) ?? [])
        }
    }

    /// Whether zdtm.py would run it in the host's own namespaces and expect it to pass.
    var runsOnHost: Bool { flavors.contains("h") && flags.isDisjoint(with: ["noauto", "crfail"]) }

    /// Executable files that have a source file beside them.
    private static func built(in directory: String) throws -> [String] {
        let manager = FileManager.default
        guard let files = try? manager.contentsOfDirectory(atPath: directory) else {
            throw LabFailure("cannot read the directory \(directory)")
        }
        let sources = Set(files.filter { $0.hasSuffix(".c") }.map { String($0.dropLast(2)) })
        return files.filter { name in
            let source = name.hasSuffix("+") ? String(name.dropLast()) : name
            return (sources.contains(name) || sources.contains(source))
                && manager.isExecutableFile(atPath: "\(directory)/\(name)")
        }.sorted()
    }

    /// Asks the makefile without running anything: some programs take arguments of their own.
    private static func commands(of names: [String], in directory: String) async throws -> [String: String] {
        let result = try await Tool.run(
            "make", ["--dry-run", "--keep-going", "--no-print-directory", "-C", directory] + names.map { $0 + ".pid" },
            timeout: .seconds(120))
        var commands: [String: String] = [:]
        for line in result.output.split(whereSeparator: \.isNewline) where line.hasPrefix("./") && line.contains(" --pidfile=")
        {
            let program = line.dropFirst(2).prefix { $0 != " " }
            commands[String(program)] = String(line)
        }
        guard !commands.isEmpty else {
            throw LabFailure(
                "the makefile of \(directory) starts none of its programs: \(result.lastLine ?? "it printed nothing")")
        }
        return commands
    }

    /// The words of `'key': 'word word'` in a description, which is a dictionary of Python's.
    private static func words(_ key: String, of description: String) throws -> Set<String>? {
        let pattern = try Regex("'\(key)'\\s*:\\s*'([^']*)'", as: (Substring, Substring).self)
        return description.firstMatch(of: pattern).map { Set($0.output.1.split(separator: " ").map(String.init)) }
    }
}
