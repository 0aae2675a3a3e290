import ProcessModel

/// Areas of memory in the words of /proc/PID/maps and smaps.
struct RecordedArea {
    var range: String
    var permissions: String
    var offset: UInt64
    var device: String
    var inode: UInt64
    var path: String
    /// VmFlags.
    var flags: Set<Substring> = []
    var anonymousKilobytes: UInt64?

    static func list(_ record: ProcRecord) -> [RecordedArea] {
        var areas: [RecordedArea] = []
        for line in record.lines("smaps") ?? [] {
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            guard let first = words.first else { continue }
            if first.hasSuffix(":") {
                switch first {
                case "VmFlags:": areas[areas.count - 1].flags = Set(words.dropFirst())
                case "Anonymous:": areas[areas.count - 1].anonymousKilobytes = words.count > 1 ? UInt64(words[1]) : nil
                default: break
                }
                continue
            }
            let parts = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            guard parts.count >= 5 else { continue }
            areas.append(
                RecordedArea(
                    range: String(parts[0]), permissions: String(parts[1]), offset: UInt64(parts[2], radix: 16) ?? 0,
                    device: String(parts[3]), inode: UInt64(parts[4]) ?? 0,
                    path: parts.count > 5 ? String(parts[5].drop { $0 == " " }) : ""))
        }
        return areas
    }
}

enum AreaText {
    static func range(_ mapping: Mapping) -> String {
        [mapping.start, mapping.end].map { address in
            let text = String(address.rawValue, radix: 16)
            return String(repeating: "0", count: max(0, 8 - text.utf8.count)) + text
        }.joined(separator: "-")
    }

    static func permissions(_ mapping: Mapping) -> String {
        let letters = [(1, "r"), (2, "w"), (4, "x")].map { mapping.protection & UInt32($0.0) != 0 ? $0.1 : "-" }
        return letters.joined() + (isShared(mapping.kind) ? "s" : "p")
    }

    private static func isShared(_ kind: Mapping.Kind) -> Bool {
        switch kind {
        case .sharedFile, .sharedAnonymous, .memfd(_, isPrivate: false), .systemVSharedMemory, .packetRing(_, isPrivate: false),
            .asynchronousIORing:
            true
        default: false
        }
    }

    /// The name, and the inode's number and device where there is a file; nil where the model does not know.
    static func name(_ mapping: Mapping, in group: ProtectedGroup) -> (path: String, inode: UInt64, device: UInt64?)? {
        switch mapping.kind {
        case .anonymous: return ("", 0, 0)
        case .heap: return ("[heap]", 0, 0)
        case .stack: return ("[stack]", 0, 0)
        case .vdso: return ("[vdso]", 0, 0)
        case .vvar: return ("[vvar]", 0, 0)
        case .kernelGate: return ("[vsyscall]", 0, 0)
        case .privateFile(let id), .sharedFile(let id):
            guard let file = group.openFiles[id], case .path(let node) = file.kind else { return nil }
            return (FileText.path(node), node.inode, node.device)
        case .sharedAnonymous(let id):
            return group.sharedMemory[id].map { ("/dev/zero (deleted)", $0.inode, $0.device) }
        case .memfd(let id, _):
            guard let file = group.openFiles[id], case .memfd(let memoryID) = file.kind,
                let memory = group.sharedMemory[memoryID],
                let memfd = memory.memfd
            else { return nil }
            return ("/memfd:\(memfd.name) (deleted)", memory.inode, memory.device)
        case .packetRing(let id, _):
            guard let file = group.openFiles[id], case .packetSocket(let socket) = file.kind else { return nil }
            return ("socket:[\(socket.inode)]", socket.inode, nil)
        case .asynchronousIORing(let inode): return ("/[aio] (deleted)", inode.inode, inode.device)
        case .systemVSharedMemory, .unsupported: return nil
        }
    }

    /// `MAJOR:MINOR` of a device as the kernel counts it (20 bits of minor).
    static func device(_ number: UInt64) -> String {
        [number >> 20, number & 0xfffff].map { part in
            let text = String(part, radix: 16)
            return String(repeating: "0", count: max(0, 2 - text.utf8.count)) + text
        }.joined(separator: ":")
    }

    /// Those VmFlags that the model has: letters of show_smap_vma_flags (fs/proc/task_mmu.c) and what they are there.
    static func flags(_ mapping: Mapping) -> Set<Substring> {
        var flags: Set<Substring> = []
        for (bit, name) in [(1, "rd"), (2, "wr"), (4, "ex")] where mapping.protection & UInt32(bit) != 0 {
            flags.insert(Substring(name))
        }
        // VM_MAYSHARE: the kernel takes VM_SHARED ("sh") from what cannot be written.
        if isShared(mapping.kind) { flags.insert("ms") }
        if mapping.growsDown { flags.insert("gd") }
        if mapping.isLocked { flags.insert("lo") }
        if mapping.isNoReserve { flags.insert("nr") }
        for (advice, name) in [(14, "hg"), (15, "nh"), (12, "mg"), (16, "dd"), (10, "dc"), (18, "wf")]
        where mapping.adviceBits >> UInt64(advice) & 1 == 1 { flags.insert(Substring(name)) }
        return flags
    }

    static let knownFlags: Set<Substring> = ["rd", "wr", "ex", "ms", "gd", "lo", "nr", "hg", "nh", "mg", "dd", "dc", "wf"]
}
