import Daemon
import Foundation
import Recovery
import Testing

@Suite struct JournalTests {
    /// A guest that crashes again and again does not fill the control domain's disk.
    @Test func remembersTheLastRecoveriesOfEachGuest() async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "xenpr-journal-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let journal = try Journal(path: directory.appending(path: "journal.sqlite").path, limit: 3)

        for number in 0..<5 {
            // The clock goes backwards, the order of events does not.
            try await recover("main", at: 1000 - Double(number), in: journal)
            if number == 0 { try await recover("other", at: 5000, in: journal) }
        }
        #expect(
            try await journal.recoveries(of: "main", limit: 100).map(\.id).sorted() == ["main-996", "main-997", "main-998"])
        #expect(try await journal.recoveries(of: "other", limit: 100).map(\.id) == ["other-5000"])
        #expect(try await journal.recovery("main-1000") == nil)
        #expect(try await journal.transitions(of: "main-1000").isEmpty)
        #expect(try await journal.transitions(of: "main-998").map(\.to) == [.crashed, .recovered])
        #expect(try await journal.transitions(of: "other-5000").map(\.to) == [.crashed, .recovered])
    }

    private func recover(_ guest: String, at seconds: Double, in journal: Journal) async throws {
        let now = Timestamp(unixSeconds: seconds)
        var record = ProtectionRecord(
            guest: guest, settings: ProtectionSettings(config: "/etc/xen/\(guest).cfg", volume: "/dev/null", salvage: .minor),
            at: now)
        record.recovery = RecoveryRecord(guest: guest, deadDomain: 1, crashedAt: now)
        for (from, to) in [(GuestState.armed, GuestState.crashed), (.crashed, .recovered)] {
            record.state = to
            try await journal.keep(
                record, Transition(guest: guest, from: from, to: to, at: now, detail: nil, recovery: record.recovery?.id))
        }
    }
}
