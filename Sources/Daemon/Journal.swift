import DaemonAPI
import Foundation
import GRDB
import Recovery

/// What xenprd must never forget, in SQLite: protected guests, the steps they made, and the recoveries.
///
/// Write-ahead log with synchronous=FULL: a transaction that was answered survives a power cut. Records are JSON in one
/// column, so that a field that a newer xenprd adds needs no migration; what is searched for has its own column.
public struct Journal: Sendable {
    private let pool: DatabasePool
    private let limit: Int

    /// - Parameter limit: how many recoveries of a guest are remembered: a record tells of each process that a guest had, and a guest can crash again and again.
    public init(path: String, limit: Int = 200) throws {
        self.limit = limit
        var configuration = Configuration()
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        pool = try DatabasePool(path: path, configuration: configuration)
        try Self.migrations.migrate(pool)
    }

    private static var migrations: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("guests, transitions, recoveries") { database in
            try database.execute(
                sql: """
                    CREATE TABLE guest (name TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL, record TEXT NOT NULL) STRICT;
                    CREATE TABLE transition (
                        id INTEGER PRIMARY KEY, guest TEXT NOT NULL, at REAL NOT NULL, from_state TEXT NOT NULL,
                        to_state TEXT NOT NULL, detail TEXT, recovery TEXT) STRICT;
                    CREATE INDEX transition_recovery ON transition (recovery);
                    CREATE TABLE recovery (
                        id TEXT PRIMARY KEY NOT NULL, guest TEXT NOT NULL, crashed_at REAL NOT NULL, outcome TEXT NOT NULL,
                        record TEXT NOT NULL) STRICT;
                    CREATE INDEX recovery_time ON recovery (crashed_at);
                    """)
        }
        return migrator
    }

    /// Makes a guest's record durable, with the step that led to it and the recovery that it carries.
    public func keep(_ record: ProtectionRecord, _ transition: Transition?) async throws {
        let text = try Self.text(record)
        let recovery = try record.recovery.map { ($0, try Self.text($0)) }
        try await pool.write { database in
            if record.state == .unprotected {
                try database.execute(sql: "DELETE FROM guest WHERE name = ?", arguments: [record.guest])
            } else {
                try database.execute(
                    sql: """
                        INSERT INTO guest (name, state, record) VALUES (?, ?, ?)
                        ON CONFLICT (name) DO UPDATE SET state = excluded.state, record = excluded.record
                        """, arguments: [record.guest, record.state.rawValue, text])
            }
            if let transition {
                try database.execute(
                    sql: """
                        INSERT INTO transition (guest, at, from_state, to_state, detail, recovery) VALUES (?, ?, ?, ?, ?, ?)
                        """,
                    arguments: [
                        transition.guest, transition.at.unixSeconds, transition.from.rawValue, transition.to.rawValue,
                        transition.detail, transition.recovery,
                    ])
            }
            if let (recovery, text) = recovery {
                try database.execute(
                    sql: """
                        INSERT INTO recovery (id, guest, crashed_at, outcome, record) VALUES (?, ?, ?, ?, ?)
                        ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, record = excluded.record
                        """,
                    arguments: [
                        recovery.id, recovery.guest, recovery.crashedAt.unixSeconds, recovery.outcome.rawValue, text,
                    ])
                try forgetOldest(of: record.guest, in: database)
            }
        }
    }

    /// The oldest by their place in the journal: the clock may have been set back.
    private func forgetOldest(of guest: String, in database: Database) throws {
        try database.execute(
            sql: """
                DELETE FROM recovery WHERE guest = ?1 AND rowid NOT IN
                    (SELECT rowid FROM recovery WHERE guest = ?1 ORDER BY rowid DESC LIMIT ?2)
                """, arguments: [guest, limit])
        guard database.changesCount > 0 else { return }
        // Steps between recoveries go with those before them.
        try database.execute(
            sql: """
                DELETE FROM transition WHERE guest = ?1 AND id <
                    (SELECT min(id) FROM transition WHERE recovery IN (SELECT id FROM recovery WHERE guest = ?1))
                """, arguments: [guest])
    }

    /// The guests that were protected when the last xenprd ended, and the names of those whose record this xenprd cannot
    /// read (a newer one wrote it, say): they must not cost the others their protection.
    public func guests() async throws -> (records: [ProtectionRecord], unreadable: [String]) {
        let rows = try await pool.read { database in
            try Row.fetchAll(database, sql: "SELECT name, record FROM guest ORDER BY name").map { row in
                (row["name"] as String, row["record"] as String)
            }
        }
        var found: (records: [ProtectionRecord], unreadable: [String]) = ([], [])
        for (name, text) in rows {
            do {
                found.records.append(try Self.value(ProtectionRecord.self, text))
            } catch {
                found.unreadable.append(name)
            }
        }
        return found
    }

    /// Newest first, at most `limit`; of one guest, or of all when it is nil.
    public func recoveries(of guest: String?, limit: Int) async throws -> [RecoveryRecord] {
        try await pool.read { database in
            try String.fetchAll(
                database,
                sql: """
                    SELECT record FROM recovery WHERE ?1 IS NULL OR guest = ?1 ORDER BY crashed_at DESC, id DESC LIMIT ?2
                    """, arguments: [guest, limit])
        }.map { try Self.value(RecoveryRecord.self, $0) }
    }

    public func recovery(_ id: String) async throws -> RecoveryRecord? {
        try await pool.read { database in
            try String.fetchOne(database, sql: "SELECT record FROM recovery WHERE id = ?", arguments: [id])
        }.map { try Self.value(RecoveryRecord.self, $0) }
    }

    /// The steps of one recovery in their order.
    public func transitions(of recovery: String) async throws -> [Transition] {
        try await pool.read { database in
            let rows = try Row.fetchAll(
                database,
                sql: "SELECT guest, at, from_state, to_state, detail FROM transition WHERE recovery = ? ORDER BY id",
                arguments: [recovery])
            return rows.compactMap { row in
                guard let from = GuestState(rawValue: row["from_state"]), let to = GuestState(rawValue: row["to_state"])
                else { return nil }
                return Transition(
                    guest: row["guest"], from: from, to: to, at: Timestamp(unixSeconds: row["at"]),
                    detail: row["detail"], recovery: recovery)
            }
        }
    }

    private static func text(_ value: some Encodable) throws -> String {
        String(decoding: try WireCoding.encode(value), as: UTF8.self)
    }

    private static func value<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
        try WireCoding.decode(type, from: Data(text.utf8))
    }
}
