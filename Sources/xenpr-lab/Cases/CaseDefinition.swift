import Foundation
import TOMLKit

/// One case: a directory with `start` and `check`, and optionally `case.toml`, `build`, `before` and `client`.
struct CaseDefinition: Sendable {
    /// The name of the directory, and of the case's protected group.
    let name: String
    let directory: String
    /// Debian packages that main needs.
    var packages: Set<String> = []
    /// The verdict that salvage must give the group; nil when any is accepted as long as `check` passes.
    var expect: String?
    /// The group may also come back degraded: what it does all the time cannot come back in full from each moment that a crash can choose.
    var mayDegrade = false
    /// What the case shows to come back or not to, and the heading it belongs under, for the table of the README.
    var shows: String?
    var area: String?
    /// Its processes can be stopped for a while without harm to the case, so that they are the same at the record of the truth and at the crash.
    var isQuiescent = false
    /// It starts before those without this, and alone: what it does to the whole guest must not meet others.
    var startsFirst = false
    /// Seconds between the last start and the crash.
    var settleSeconds: Double = 1
    /// Limit for each of the case's programs.
    var timeoutSeconds: Double = 120

    static let programs = ["build", "start", "before", "check", "client"]

    /// Emulated guests on a loaded machine are many times slower than the hardware that a limit is written for; the limit is
    /// there to end what hangs.
    private static let patience = 4.0

    var timeout: Duration { .milliseconds(Int64(timeoutSeconds * 1000 * Self.patience)) }

    func has(_ program: String) -> Bool { FileManager.default.fileExists(atPath: "\(directory)/\(program)") }

    /// Reads the cases in these directories; one that holds case directories itself stands for all of them.
    static func load(_ paths: [String]) throws -> [CaseDefinition] {
        var cases: [CaseDefinition] = []
        for path in paths {
            let directory = URL(fileURLWithPath: path).standardizedFileURL.path
            if isCase(directory) {
                cases.append(try CaseDefinition(directory: directory))
                continue
            }
            let names = try contents(of: directory).sorted()
            let inside = names.map { "\(directory)/\($0)" }.filter(isCase)
            guard !inside.isEmpty else {
                throw LabFailure("\(path) is no case: it has no file start, and no directory in it has one")
            }
            for case let nested in inside { cases.append(try CaseDefinition(directory: nested)) }
        }
        let names = cases.map(\.name)
        if let twice = names.first(where: { name in names.filter { $0 == name }.count > 1 }) {
            throw LabFailure(
                "two cases are called \(twice): the name of the directory is the name of the group, so it must differ")
        }
        return cases
    }

    private static func isCase(_ directory: String) -> Bool {
        ["start", "check"].contains { FileManager.default.fileExists(atPath: "\(directory)/\($0)") }
    }

    private static func contents(of directory: String) throws -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: directory)
        } catch {
            throw LabFailure("cannot read the case directory \(directory): it is missing or no directory")
        }
    }

    private init(directory: String) throws {
        self.directory = directory
        name = URL(fileURLWithPath: directory).lastPathComponent
        let allowed = name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
        guard allowed, !name.hasPrefix("."), name.utf8.count <= 64 else {
            throw LabFailure(
                "the case \(directory) cannot be named \"\(name)\": a group's name has at most 64 letters, digits, '-', '_' and '.'"
            )
        }
        for program in ["start", "check"] where !has(program) {
            throw LabFailure("the case \(directory) has no file \(program)")
        }
        for program in Self.programs where has(program) {
            guard FileManager.default.isExecutableFile(atPath: "\(directory)/\(program)") else {
                throw LabFailure("\(directory)/\(program) is not executable: chmod +x it")
            }
        }
        if has("case.toml") { try readDescription() }
    }

    private mutating func readDescription() throws {
        let file = "\(directory)/case.toml"
        let table: TOMLTable
        do {
            table = try TOMLTable(string: String(contentsOfFile: file, encoding: .utf8))
        } catch {
            throw LabFailure("cannot read \(file): \(error)")
        }
        for key in table.keys {
            guard let value = table[key] else { continue }
            switch key {
            case "packages":
                guard let list = value.array else { throw wrong(file, key, "a list of Debian packages") }
                for item in list {
                    guard let package = item.string else { throw wrong(file, key, "a list of Debian packages") }
                    packages.insert(package)
                }
            case "expect":
                guard let verdict = value.string, ["full", "degraded", "refused"].contains(verdict) else {
                    throw wrong(file, key, "\"full\", \"degraded\" or \"refused\"")
                }
                expect = verdict
            case "may_degrade":
                guard let flag = value.bool else { throw wrong(file, key, "true or false") }
                mayDegrade = flag
            case "shows": shows = try text(value, file, key)
            case "area": area = try text(value, file, key)
            case "quiescent":
                guard let flag = value.bool else { throw wrong(file, key, "true or false") }
                isQuiescent = flag
            case "starts_first":
                guard let flag = value.bool else { throw wrong(file, key, "true or false") }
                startsFirst = flag
            case "settle_s": settleSeconds = try seconds(value, file, key, 0...600)
            case "timeout_s": timeoutSeconds = try seconds(value, file, key, 1...3600)
            default:
                throw LabFailure(
                    "\(file) has an unknown key \(key): packages, expect, may_degrade, shows, area, quiescent, starts_first, settle_s and timeout_s are known"
                )
            }
        }
    }

    private func text(_ value: any TOMLValueConvertible, _ file: String, _ key: String) throws -> String {
        guard let text = value.string, !text.contains(where: { $0.isNewline || $0 == "|" }) else {
            throw wrong(file, key, "one line of text without \"|\"")
        }
        return text
    }

    private func seconds(_ value: any TOMLValueConvertible, _ file: String, _ key: String, _ range: ClosedRange<Double>) throws
        -> Double
    {
        guard let number = value.double ?? value.int.map(Double.init), range.contains(number) else {
            throw wrong(file, key, "a number of seconds from \(Int(range.lowerBound)) to \(Int(range.upperBound))")
        }
        return number
    }

    private func wrong(_ file: String, _ key: String, _ wanted: String) -> LabFailure {
        LabFailure("\(file): \(key) must be \(wanted)")
    }
}
