import PlainJSON
import Testing

@testable import xenpr_agent

/// What the agent makes of a `recovery.json`, which stems from a dead kernel's memory.
@Suite struct RecoveryManifestTests {
    static let whole = """
        {"schema": "xenpr.recovery/1", "id": "r1", "crashed_at": 1700000000.5, "largest_pid": 2345,
         "groups": [{"name": "jobs", "verdict": "degraded", "reasons": ["a terminal is gone"], "images": "groups/jobs/images",
                     "root_pid": 2001, "processes": [{"pid": 2001, "command": "xenpr-keeper",
                     "threads": [{"tid": 2001, "cpus": [0, 3], "timer_slack_ns": null}]}]}],
         "files": [{"path": "/var/log/x", "inode": 12, "size": 5, "mode": 33184, "uid": 1, "gid": 2, "content": "files/1",
                    "extents": [[0, 5, 0]]}],
         "removed": [{"path": "/tmp/y", "inode": 13}]}
        """

    func parse(_ text: String) throws -> RecoveryManifest { try RecoveryManifest(parsing: Array(text.utf8)) }

    @Test func readsAWholeManifest() throws {
        let manifest = try parse(Self.whole)
        #expect(manifest.id == "r1")
        #expect(manifest.largestPID == 2345)
        let group = try #require(manifest.groups.first)
        #expect(group.name.description == "jobs")
        #expect(group.hasImages)
        #expect(group.rootPID == 2001)
        #expect(group.processes.first?.threads.first?.cpus == [0, 3])
        let file = try #require(manifest.files.first)
        #expect(file.size == 5)
        #expect(file.extents.first?.length == 5)
        #expect(manifest.removed.first?.inode == 13)
    }

    @Test func aTmpfsIsToldNoMoreThanATmpfsMayBe() throws {
        func mounts(_ options: String, flags: Int = 2) throws -> [RecoveryManifest.MemoryMount] {
            let made = """
                "memory_mounts": [{"path": "/srv/m", "source": "none", "options": "\(options)", "flags": \(flags), "minor": 60}], "removed"
                """
            return try parse(Self.replacing("\"removed\"", by: made)).memoryMounts
        }
        let mount = try #require(try mounts("mode=0755,size=64k").first)
        #expect(mount.path == "/srv/m" && mount.minor == 60 && mount.flags == 2)
        #expect(mount.options.map(\.name) == ["mode", "size"] && mount.options.map(\.value) == ["0755", "64k"])
        #expect(try mounts("mode=0755", flags: 1 << 14 | 4).first?.flags == 4, "MS_REC is none of its own flags")
        #expect(try mounts("mode=0755,source=/etc").isEmpty)
        #expect(try mounts("size=1;2").isEmpty)
    }

    @Test func formatsHaveNamesOfFiles() throws {
        func formats(_ name: String, _ bytes: String = "58, 255") throws -> [String] {
            let made =
                "\"formats\": [{\"name\": \"\(name)\", \"registration\": [\(bytes)], \"enabled\": false}], \"root_pid\": 2001"
            return try parse(Self.replacing("\"root_pid\": 2001", by: made)).groups.flatMap(\.formats).map(\.name)
        }
        #expect(try formats("wasm") == ["wasm"])
        for name in ["register", "status", "..", "a/b", ""] { #expect(try formats(name).isEmpty) }
        #expect(try formats("wasm", "58, 256").isEmpty)
    }

    @Test func refusesEveryTruncation() {
        for length in 0..<Self.whole.utf8.count {
            #expect(throws: AgentError.self) { try RecoveryManifest(parsing: Array(Self.whole.utf8.prefix(length))) }
        }
    }

    @Test(arguments: [
        ("xenpr.recovery/1", "xenpr.recovery/9"), ("\"r1\"", "\"../r1\""), ("\"name\": \"jobs\"", "\"name\": \"..\""),
        ("\"name\": \"jobs\"", "\"name\": \"a/b\""), ("[[0, 5, 0]]", "[[0, 5]]"), ("\"size\": 5", "\"size\": \"5\""),
    ]) func refusesWhatCannotBe(_ change: (from: String, to: String)) {
        let text = Self.replacing(change.from, by: change.to)
        #expect(throws: AgentError.self) { try parse(text) }
    }

    @Test func whatTheAgentMakesIsTakenInItsPlainestForm() throws {
        func group(queue: String = "jobs", contents: String = "queue-7", pipe: String = "packets-1") throws
            -> RecoveryManifest.Group
        {
            let made = """
                "lent_files": [{"name": "xenpr-lent/6", "flags": 2, "semaphore": "18446744073709551614"},
                {"name": "/etc/passwd", "flags": 2, "semaphore": "1"}, {"name": "xenpr-lent/7", "flags": 2050, "queue": {"name":
                "\(queue)", "removed": true, "inode": 5, "mode": 2541, "uid": 1, "gid": 2, "message_limit": 10, "message_bytes": 64,
                "contents": "\(contents)", "messages": [{"priority": 3, "bytes": 2}]}}],
                "pipes": [{"pid": 2001, "descriptor": 4, "contents": "\(pipe)", "pieces": [{"bytes": 6, "packet": true}]}],
                "root_pid": 2001
                """
            return try #require(self.parse(Self.replacing("\"root_pid\": 2001", by: made)).groups.first)
        }
        let whole = try group()
        #expect(whole.lentFiles.map(\.name) == ["xenpr-lent/6", "xenpr-lent/7"])
        guard case .semaphore(UInt64.max - 1) = whole.lentFiles[0].kind, case .queue(let queue) = whole.lentFiles[1].kind else {
            Issue.record("\(whole.lentFiles)")
            return
        }
        #expect(queue.messages.map(\.priority) == [3] && queue.messages.map(\.byteCount) == [2])
        #expect(queue.mode == 0o755 && queue.isRemoved, "no bits beyond the permissions")
        #expect(whole.pipes.first?.pieces.first?.isPacket == true)
        #expect(try group(queue: "../jobs").lentFiles.count == 1)
        #expect(try group(contents: "../../etc/shadow").lentFiles.count == 1)
        #expect(try group(pipe: "../1").pipes.isEmpty)
    }

    @Test func networksAreTakenInTheirPlainestForm() throws {
        func group(
            device: String = "eth0", peer: String = "veth1", address: String = "10.0.7.1/24", mtu: String = "1400",
            path: String, value: String
        )
            throws -> RecoveryManifest.Group
        {
            let network = """
                "network_namespace": true, "links": [{"device": "\(device)", "peer": {"name": "\(peer)", "up": true,
                "hardware_address": "", "addresses": ["\(address)"], "mtu": \(mtu)}, "bridge": null}],
                "network_settings": [{"path": "\(path)", "value": "\(value)"}], "root_pid": 2001
                """
            return try #require(self.parse(Self.replacing("\"root_pid\": 2001", by: network)).groups.first)
        }
        let plain = try group(path: "net/ipv4/ip_forward", value: "1")
        #expect(plain.links.first?.peer.name.description == "veth1" && plain.links.first?.peer.addresses == ["10.0.7.1/24"])
        #expect(plain.networkSettings.first?.path == "net/ipv4/ip_forward" && plain.networkSettings.first?.value == "1")
        for path in ["kernel/core_pattern", "net/../kernel/core_pattern", "/net/ipv4", "net//ipv4"] {
            #expect(try group(path: path, value: "1").networkSettings.isEmpty)
        }
        #expect(try group(path: "net/core/x", value: "|/bin/sh").networkSettings.isEmpty)
        for name in ["-all", "a b", "sixteen-letters-", "..", "a:b"] {
            #expect(try group(device: name, path: "net/x", value: "1").links.isEmpty)
            #expect(try group(peer: name, path: "net/x", value: "1").links.isEmpty)
        }
        #expect(try group(address: "1 dev lo", path: "net/x", value: "1").links.first?.peer.addresses == [])
        #expect(plain.links.first?.peer.mtu == 1400)
        for mtu in ["67", "65536", "-1400", "null", "\"1400\""] {
            let link = try #require(try group(mtu: mtu, path: "net/x", value: "1").links.first)
            #expect(link.peer.mtu == nil)
        }
    }

    @Test func mountsAreTakenInTheirPlainestForm() throws {
        func parse(root: String, key: String = "mount-1", path: String = "/etc/hosts", flags: String = "null") throws
            -> RecoveryManifest.Group
        {
            let mounts =
                "\"mount_root\": \"\(root)\", \"mount_root_flags\": \(flags), "
                + "\"mounts\": [{\"key\": \"\(key)\", \"path\": \"\(path)\"}], \"root_pid\": 2001"
            return try #require(self.parse(Self.replacing("\"root_pid\": 2001", by: mounts)).groups.first)
        }
        let group = try parse(root: "/srv/root", flags: "1")
        #expect(group.mountRoot == "/srv/root" && group.mountRootFlags == 1)
        #expect(group.mounts.map(\.path) == ["/etc/hosts"])
        #expect(try parse(root: "/").mountRoot == "/")
        // MS_BIND and MS_MOVE are no flags of a mount.
        #expect(try parse(root: "/", flags: "12289").mountRootFlags == 1)
        for root in ["srv", "", "/srv/../etc", "/srv/", "//", "/a\\u000ab"] {
            #expect(throws: AgentError.self) { try parse(root: root) }
        }
        #expect(throws: AgentError.self) { try parse(root: "/", path: "/etc/./hosts") }
        #expect(throws: AgentError.self) { try parse(root: "/", key: "mount]:/etc") }
    }

    @Test func overlaysNameTheirLayersAndKnownOptions() throws {
        func parse(lower: String = "/srv/a", upper: String = "\"/srv/b\"", options: String = "index=off,userxattr") throws
            -> RecoveryManifest.Overlay?
        {
            let overlay =
                "\"mount_root\": \"/srv/root\", \"overlay\": {\"lower\": [{\"path\": \"\(lower)\"}], \"upper\": \(upper), "
                + "\"work\": null, \"options\": \"\(options)\"}, \"root_pid\": 2001"
            return try #require(self.parse(Self.replacing("\"root_pid\": 2001", by: overlay)).groups.first).overlay
        }
        let overlay = try #require(try parse())
        #expect(overlay.lower == ["/srv/a"] && overlay.upper == "/srv/b" && overlay.options == "index=off,userxattr")
        #expect(try parse(upper: "null")?.upper == nil)
        for lower in ["srv", "/srv/../a", "/srv/a:/etc", "/srv/a,upperdir=/etc"] {
            #expect(throws: AgentError.self) { try parse(lower: lower) }
        }
        #expect(throws: AgentError.self) { try parse(options: "lowerdir=/etc") }
    }

    @Test func takesImagesOnlyFromTheirPlace() throws {
        let manifest = try parse(Self.replacing("groups/jobs/images", by: "groups/../../etc"))
        #expect(manifest.groups.first?.hasImages == false)
    }

    /// One replacement, without Foundation's.
    static func replacing(_ from: String, by to: String) -> String {
        guard let range = whole.ranges(of: from).first else { return whole }
        return whole.replacingCharacters(in: range, with: to)
    }
}

extension String {
    fileprivate func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
        self[..<range.lowerBound] + text + self[range.upperBound...]
    }
}

@Suite struct GroupNameTests {
    @Test(arguments: ["a", "redis-1", "A.b_c", String(repeating: "x", count: 64)])
    func acceptsOnePlainComponent(_ name: String) {
        #expect(GroupName(name)?.description == name)
    }

    @Test(arguments: ["", ".", "..", "a/b", "a b", "ä", "a\n", String(repeating: "x", count: 65)])
    func refusesTheRest(_ name: String) {
        #expect(GroupName(name) == nil)
    }
}
