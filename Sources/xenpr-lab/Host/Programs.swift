import Foundation

/// The programs of this build that the lab puts to work.
struct Programs: Sendable {
    /// The command xenpr, for the host and the control domain.
    let xenpr: String
    /// The daemon, for the control domain, and the first process of the minor; only Xen needs them.
    let xenprd: String
    let minor: String
    let agent: AgentFiles

    /// The root of the repository.
    let repository: String

    /// Finds them: in `$XENPR_PROGRAMS` if that is set, else where `make build` leaves them.
    static func find() throws -> Programs {
        let repository = try repositoryRoot()
        let directories =
            [ProcessInfo.processInfo.environment["XENPR_PROGRAMS"]].compactMap(\.self)
            + ["\(repository)/.build/release"]
        func program(_ name: String) throws -> String {
            guard let path = directories.map({ "\($0)/\(name)" }).first(where: FileManager.default.isExecutableFile) else {
                throw LabFailure("cannot find the program \(name) in \(directories.joined(separator: ", ")): run make build")
            }
            return path
        }
        let unit = "\(repository)/Support/xenpr-agent.service"
        guard FileManager.default.fileExists(atPath: unit) else { throw LabFailure("cannot find \(unit)") }
        return Programs(
            xenpr: try program("xenpr"), xenprd: try program("xenprd"), minor: try program("xenpr-minor"),
            agent: AgentFiles(program: try program("xenpr-agent"), unit: unit),
            repository: repository)
    }

    /// The directory with Package.swift above this program, else above the working directory.
    private static func repositoryRoot() throws -> String {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        for start in [program, FileManager.default.currentDirectoryPath + "/x"] {
            var directory = URL(fileURLWithPath: start).deletingLastPathComponent()
            while directory.path != "/" {
                if FileManager.default.fileExists(atPath: directory.appendingPathComponent("Package.swift").path) {
                    return directory.path
                }
                directory.deleteLastPathComponent()
            }
        }
        throw LabFailure("cannot find the repository: run xenpr-lab in its directory")
    }
}
