import PlainJSON
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct RecoveryManifestTests {
    private var sample: RecoveryManifest {
        var manifest = RecoveryManifest(
            id: "r1", guest: "main", kernel: "6.1.0-56-amd64", cause: "sysrq: Trigger a crash", crashedAt: 1_700_000_000.5,
            salvagedBy: .minor)
        manifest.largestPID = 2003
        manifest.timeline = [RecoveryManifest.Phase(name: "walk", start: 1, seconds: 0.25, bytes: 10, pages: 2)]
        var group = RecoveryManifest.Group(
            name: "counter", cgroup: "/xenpr/counter", verdict: .degraded, reasons: ["x"], images: "groups/counter/images",
            rootPID: 2000)
        var attributes = RecoveryManifest.ThreadAttributes(tid: 2000)
        attributes.cpus = [0, 3]
        attributes.timerSlackNanoseconds = 1
        attributes.ioPriority = 2 << 13 | 6
        attributes.coredumpFilter = 0x7f
        group.requiredDevices = [RecoveryManifest.Device(name: "eth0", number: 2)]
        group.imagesGroup = 100_000
        group.hasNetworkNamespace = true
        let bridge = RecoveryManifest.LinkEnd(
            name: "docker0", isUp: true, hardwareAddress: "02:42:00:00:00:01", addresses: ["10.0.7.1/24"], mtu: 1400)
        let peer = RecoveryManifest.LinkEnd(name: "veth1", isUp: false, hardwareAddress: "", addresses: [])
        group.links = [RecoveryManifest.Link(device: "eth0", peer: peer, bridge: bridge)]
        group.networkSettings = [NetworkSetting(path: "net/ipv4/ip_forward", value: "1")]
        group.requiredMounts = ["/srv/a mount"]
        group.formats = [.init(name: "wasm", registration: Array(":wasm:E::wasm::/w:".utf8), isEnabled: false)]
        manifest.memoryMounts = [
            .init(path: "/srv/memory", source: "none", options: "mode=0755,size=64k", flags: 1 << 24, minor: 63)
        ]
        group.pipes = [
            RecoveryManifest.Pipe(
                pid: 2000, descriptor: 4, contents: "packets-1", pieces: [Pipe.Piece(byteCount: 6, isPacket: true)])
        ]
        var queue = PosixQueue(
            name: "jobs", isRemoved: true, inode: 5, ipcNamespace: 6, mode: 0o600, uid: 1, gid: 2, messageLimit: 10,
            messageBytes: 64)
        queue.messages = [PosixQueue.Message(priority: 3, bytes: [0, 0])]
        group.lentFiles = [
            RecoveryManifest.LentFile(name: "xenpr-lent/6", flags: 2, kind: .semaphore(counter: .max - 1)),
            RecoveryManifest.LentFile(name: "xenpr-lent/7", flags: 2, kind: .queue(queue, contents: "queue-7")),
        ]
        group.processes = [
            RecoveryManifest.Process(
                pid: 2000, command: "keeper", verdict: .degraded, reasons: ["y"], memoryBytes: 4096, files: 3, sockets: 0,
                threads: [attributes])
        ]
        manifest.groups = [group]
        manifest.files = [
            RecoveryManifest.FileCatchUp(
                path: "/var/log/a", inode: 5, size: 10, mode: 0o100644, uid: 0, gid: 4_294_967_295, content: "files/1",
                extents: [RecoveryManifest.FileCatchUp.Extent(fileOffset: 0, length: 10, contentOffset: 0)])
        ]
        manifest.files[0].modified = FileTime(seconds: 1_700_000_000, nanoseconds: 999_999_999)
        manifest.files[0].accessed = FileTime(seconds: -1, nanoseconds: 0)
        manifest.removed = [RecoveryManifest.RemovedFile(path: "/tmp/b", inode: 6)]
        manifest.gaps = [
            RecoveryManifest.Gap(object: "task 5", field: "mm", address: "0xffff888100000000", reason: "not present")
        ]
        return manifest
    }

    @Test func roundTrip() throws {
        #expect(try RecoveryManifest(parsing: sample.json.bytes(.pretty)) == sample)
    }

    /// As a version wrote it that did not save the MTU.
    @Test func anOlderOneIsRead() throws {
        let saved = #","mtu":1400"#
        let parts = sample.json.text().split(separator: saved, omittingEmptySubsequences: false)
        try #require(parts.count == 2)
        var older = sample
        older.groups[0].links[0].bridge?.mtu = nil
        #expect(try RecoveryManifest(parsing: Array(parts.joined(separator: "").utf8)) == older)
    }

    @Test func everyTruncationIsRefused() {
        let bytes = sample.json.bytes()
        for length in 0..<bytes.count {
            #expect(throws: ManifestError.self) { try RecoveryManifest(parsing: Array(bytes[..<length])) }
        }
    }

    /// Each of these, in place of the original text, would make the agent touch what it must not.
    @Test(arguments: [
        (#""groups/counter/images""#, #""../images""#), (#""groups/counter/images""#, #""/etc""#),
        (#""groups/counter/images""#, #""a//b""#),
        (#""groups/counter/images""#, #""a\u0000b""#), (#""name":"counter""#, #""name":"..""#),
        (#""name":"counter""#, #""name":"a/b""#),
        (#""/srv/a mount""#, #""srv""#), (#""number":2"#, #""number":0"#), (#""docker0""#, #""a/b""#), (#""veth1""#, #""..""#),
        (#""mtu":1400"#, #""mtu":67"#), (#""mtu":1400"#, #""mtu":65536"#),
        (#""/var/log/a""#, #""var/log/a""#),
        (#""/var/log/a""#, #""/var/../etc/passwd""#),
        (#""/xenpr/counter""#, #""/xenpr/../..""#),
        (#""root_pid":2000"#, #""root_pid":-1"#), (#""root_pid":2000"#, #""root_pid":0"#),
        (#""largest_pid":2003"#, #""largest_pid":99999999"#),
        ("[[0,10,0]]", "[[0,10]]"), ("[[0,10,0]]", "[[-1,10,0]]"), ("[[0,10,0]]", "[[9223372036854775807,10,0]]"),
        (#""size":10"#, #""size":-1"#),
        (#""nanoseconds":999999999"#, #""nanoseconds":1000000000"#), (#""seconds":-1"#, #""seconds":"1""#),
        (#""files/1""#, "null"), ("xenpr.recovery/1", "xenpr.recovery/2"), (#""degraded""#, #""fine""#), ("[0,3]", "[0,99999]"),
    ])
    func hostileValuesAreRefused(original: String, replacement: String) throws {
        let text = sample.json.text()
        let parts = text.split(separator: original, omittingEmptySubsequences: false)
        try #require(parts.count >= 2, "\(original) is in the text")
        let changed = parts[0] + replacement + parts.dropFirst().joined(separator: original)
        #expect(throws: ManifestError.self) { try RecoveryManifest(parsing: Array(changed.utf8)) }
    }
}
