import ArgumentParser
import Foundation

/// In which namespaces zdtm.py runs a program: the host's, or pid, mount, network, ipc, uts and time namespaces of its own.
enum ZdtmFlavor: String, ExpressibleByArgument, CaseIterable, Sendable {
    case h, ns
}

/// A program of CRIU's own test suite (test/zdtm/static of its repository): it sets up one feature of the kernel, waits for SIGTERM, and then says
/// PASS or FAIL in its outfile.
struct ZdtmProgram: Sendable {
    let name: String
    /// The program that has the same source, built in another way: what both make in the guest has the same names. Itself where there is none.
    let source: String
    /// How its makefile starts it: `./pipe00 --pidfile=pipe00.pid --outfile=pipe00.out`.
    let command: String
    /// What `NAME.desc` says, of which zdtm.py makes: where it can run (h: the host's own namespaces), and how.
    let flavors: Set<String>
    let flags: Set<String>
    /// Programs that it runs, each with others that serve as well (`/sbin/ip|/bin/ip`).
    let dependencies: [String]
    /// `NAME.hook`: what is to be run beside it, in the guest's own namespaces. One that looks at CRIU's own dump has nothing to do here.
    let hasHook: Bool

    /// The programs that have been built in a directory, and that its makefile knows how to start, in the order of their names.
    static func all(in directory: String) async throws -> [ZdtmProgram] {
        let names = try built(in: directory)
        guard !names.isEmpty else { throw LabFailure("\(directory) has no programs: run make in it first") }
        let commands = try await commands(of: names, in: directory)
        return try names.compactMap { name in
            guard let command = commands[name] else { return nil }
            let description = (try? String(contentsOfFile: "\(directory)/\(name).desc", encoding: .utf8)) ?? ""
            return ZdtmProgram(
                name: name, source: source(of: name, in: directory), command: command,
                flavors: try words("flavor", of: description) ?? ["h", "ns", "uns"],
                flags: try words("flags", of: description) ?? [], dependencies: try list("deps", of: description),
                hasHook: (try? String(contentsOfFile: "\(directory)/\(name).hook", encoding: .utf8))?.contains("--post-start")
                    ?? false)
        }
    }

    private static func source(of name: String, in directory: String) -> String {
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\(name).c")
        return target.map { $0.hasSuffix(".c") ? String($0.dropLast(2)) : $0 } ?? name
    }

    /// Whether zdtm.py would run it in this flavor and expect it to pass; those that also run on the host are run there only.
    func runs(in flavor: ZdtmFlavor) -> Bool {
        guard flags.isDisjoint(with: ["noauto", "crfail"]) else { return false }
        return switch flavor {
        case .h: flavors.contains("h")
        case .ns: flavors.contains("ns") && !flavors.contains("h")
        }
    }

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

    /// The strings of `'key': ['a', 'b']`.
    private static func list(_ key: String, of description: String) throws -> [String] {
        let pattern = try Regex("'\(key)'\\s*:\\s*\\[([^\\]]*)\\]", as: (Substring, Substring).self)
        guard let match = description.firstMatch(of: pattern) else { return [] }
        return match.output.1.split(separator: ",").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: " '\n\t")) }
            .filter { !$0.isEmpty }
    }

    /// The words of `'key': 'word word'` in a description, which is a dictionary of Python's.
    private static func words(_ key: String, of description: String) throws -> Set<String>? {
        let pattern = try Regex("'\(key)'\\s*:\\s*'([^']*)'", as: (Substring, Substring).self)
        return description.firstMatch(of: pattern).map { Set($0.output.1.split(separator: " ").map(String.init)) }
    }
}
