import Foundation
import Testing

@testable import xenpr_lab

@Suite struct CaseDefinitionTests {
    /// A directory for one test; files whose text starts with "#!" are executable.
    private func directory(_ files: [String: String]) throws -> String {
        let root = FileManager.default.temporaryDirectory.path + "/xenpr-lab-test-\(UUID().uuidString)"
        for (name, text) in files {
            let path = "\(root)/\(name)"
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try text.write(toFile: path, atomically: false, encoding: .utf8)
            let mode = text.hasPrefix("#!") ? 0o755 : 0o644
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        }
        return root
    }

    private func failure(of files: [String: String]) throws -> String {
        let root = try directory(files)
        defer { try? FileManager.default.removeItem(atPath: root) }
        do {
            _ = try CaseDefinition.load([root])
            return ""
        } catch let error as LabFailure {
            return error.description
        }
    }

    @Test func readsEveryKeyOfTheDescription() throws {
        let text = """
            packages = ["redis-server", "sqlite3"]
            expect = "degraded"
            settle_s = 2.5
            timeout_s = 30
            """
        let root = try directory(["one/start": "#!/bin/sh", "one/check": "#!/bin/sh", "one/case.toml": text])
        defer { try? FileManager.default.removeItem(atPath: root) }
        let found = try #require(try CaseDefinition.load(["\(root)/one/"]).first)
        #expect(found.name == "one")
        #expect(found.packages == ["redis-server", "sqlite3"])
        #expect(found.expect == "degraded")
        #expect(found.settleSeconds == 2.5)
        #expect(found.timeoutSeconds == 30)
        #expect(!found.has("client"))
    }

    @Test func aDirectoryOfCasesStandsForAllOfThem() throws {
        let root = try directory([
            "b/start": "#!/bin/sh", "b/check": "#!/bin/sh", "a/start": "#!/bin/sh", "a/check": "#!/bin/sh", "notes": "no case",
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(try CaseDefinition.load([root]).map(\.name) == ["a", "b"])
    }

    @Test func saysWhatIsWrongWithACase() throws {
        #expect(try failure(of: ["notes": "text"]).contains("is no case"))
        #expect(try failure(of: ["one/start": "#!/bin/sh"]).contains("has no file check"))
        #expect(try failure(of: ["one/start": "#!/bin/sh", "one/check": "no script"]).contains("is not executable"))
        let description = { (text: String) in
            try failure(of: ["one/start": "#!/bin/sh", "one/check": "#!/bin/sh", "one/case.toml": text])
        }
        #expect(try description("expect = \"lucky\"").contains("expect must be"))
        #expect(try description("settle_s = -1").contains("settle_s must be a number"))
        #expect(try description("pakages = []").contains("unknown key pakages"))
        #expect(try description("packages = [").contains("cannot read"))
    }

    @Test func twoCasesOfOneNameAreRefused() throws {
        let root = try directory([
            "x/one/start": "#!/bin/sh", "x/one/check": "#!/bin/sh", "y/one/start": "#!/bin/sh", "y/one/check": "#!/bin/sh",
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        #expect(throws: LabFailure.self) { try CaseDefinition.load(["\(root)/x/one", "\(root)/y/one"]) }
    }
}

@Suite struct ToolTests {
    @Test func theMessageIsTheLastLineThatIsNotEmpty() {
        #expect(ToolResult(status: 0, output: "first\nsecond\n\n", errors: "").lastLine == "second")
        #expect(ToolResult(status: 1, output: "\n", errors: "no such file\n").lastLine == "no such file")
        #expect(ToolResult(status: 1, output: "", errors: "").lastLine == nil)
    }

    @Test func aQuotedWordReachesTheShellAsItIs() async throws {
        let word = "a 'b' $c \"d\" \\ *"
        #expect(try await Tool.require("/bin/sh", ["-c", "printf %s \(quoted(word))"]) == word)
    }

    @Test func whatExceedsItsTimeIsEndedWithALine() async throws {
        let reached = FileManager.default.temporaryDirectory.appendingPathComponent("xenpr-\(UUID().uuidString)").path
        await #expect(throws: LabFailure.self) {
            try await Tool.run("/bin/sh", ["-c", "sleep 100; touch \(reached)"], timeout: .milliseconds(200))
        }
        #expect(!FileManager.default.fileExists(atPath: reached))
    }

    @Test func theStatusIsThatOfAShell() async throws {
        #expect(try await Tool.run("/bin/sh", ["-c", "exit 77"], timeout: .seconds(300)).status == 77)
        #expect(try await Tool.run("/bin/sh", ["-c", "kill -9 $$"], timeout: .seconds(300)).status == 137)
    }
}
