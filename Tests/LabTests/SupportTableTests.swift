import Foundation
import Testing

@testable import xenpr_lab

@Suite struct SupportTableTests {
    private func run(_ text: String) throws -> SupportTable.Run {
        try SupportTable.Run(parsing: Data(text.utf8), name: "report")
    }

    @Test func aCellIsTheVerdictOfWhatPassedAndTheResultOfTheRest() throws {
        let first = try run(
            """
            {"on": "qemu", "guest": "trixie", "kernel": "6.12", "criu": "4.1.1", "cases": [
                {"name": "a", "result": "passed", "verdict": "full", "message": "well"},
                {"name": "b", "result": "failed", "verdict": "full", "message": "wrong"}]}
            """)
        let second = try run(#"{"on": "xen", "guest": "bookworm", "cases": []}"#)
        let text = SupportTable.text(of: [first, second])
        #expect(text.contains("| kernel | 6.12 | - |"))
        #expect(text.contains("| a | full | not run |"))
        #expect(text.contains("| b | failed | not run |"))
        #expect(text.contains("- b on trixie, qemu: wrong"))
    }

    @Test func whatIsNoReportIsRefused() {
        #expect(throws: LabFailure.self) { try run("{}") }
    }
}
