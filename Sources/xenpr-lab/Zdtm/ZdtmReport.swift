/// What became of the programs (schema xenpr.zdtm/1).
struct ZdtmReport: Codable, Sendable {
    struct Program: Codable, Sendable {
        let name: String
        /// passed, failed, or unstarted: the kernel or the system lacks what it tests.
        var result: String
        var verdict: String?
        var message: String
    }

    private(set) var schema = "xenpr.zdtm/1"
    let on: String
    let flavor: String
    private(set) var kernel: String?
    private(set) var criu: String?
    var programs: [Program] = []

    var passed: Int { programs.filter { $0.result == "passed" }.count }
    var failed: Int { programs.filter { $0.result == "failed" }.count }

    init(on: String, flavor: String) {
        self.on = on
        self.flavor = flavor
    }

    mutating func add(_ report: LabReport) {
        kernel = report.kernel ?? kernel
        criu = report.criu ?? criu
        programs += report.cases.map {
            Program(
                name: $0.name, result: $0.hasStarted ? $0.result.rawValue : "unstarted", verdict: $0.verdict,
                message: $0.message)
        }
        programs.sort { $0.name < $1.name }
    }

    var text: String {
        let lines = programs.filter { $0.result != "passed" }.map { "\($0.result)  \($0.name): \($0.message)" }
        let unstarted = programs.count - passed - failed
        return
            (lines + [
                "\(passed) of \(passed + failed) programs that start passed after a panic (flavor \(flavor)); \(unstarted) do not start here"
            ])
            .joined(separator: "\n")
    }
}
