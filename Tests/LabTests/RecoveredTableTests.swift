import Foundation
import Testing

@testable import xenpr_lab

@Suite struct RecoveredTableTests {
    /// The repository that this file is in.
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    @Test func theREADMEHasTheTableOfTheCases() throws {
        let document = try String(contentsOf: Self.repository.appendingPathComponent("README.md"), encoding: .utf8)
        let cases = try CaseDefinition.load([Self.repository.appendingPathComponent("Tests/Cases").path])
        #expect(try RecoveredTable.renew(document, with: RecoveredTable.text(of: cases)) == document, "run make table")
    }

    @Test func everyCaseSaysWhatItShows() throws {
        let cases = try CaseDefinition.load([Self.repository.appendingPathComponent("Tests/Cases").path])
        #expect(cases.filter { $0.shows == nil || $0.expect == nil || $0.area == nil }.map(\.name) == [])
    }

    @Test func aDocumentWithoutAPlaceForTheTableIsRefused() {
        #expect(throws: LabFailure.self) { try RecoveredTable.renew("# Nothing", with: "| a |") }
        #expect(throws: LabFailure.self) {
            try RecoveredTable.renew("\(RecoveredTable.end) \(RecoveredTable.begin)", with: "| a |")
        }
    }
}
