import KernelProcesses
import ProcessModel

/// Open files of the model in the words of /proc.
enum FileText {
    /// As d_path prints a name into a symbolic link of /proc.
    static func path(_ node: FileNode) -> String {
        String(decoding: node.path.bytes, as: UTF8.self) + (node.isDeleted ? " (deleted)" : "")
    }

    /// What `fd/N` leads to; nil where the model does not know.
    static func target(_ file: OpenFile, in group: ProtectedGroup) -> String? {
        switch file.kind {
        case .path(let node), .fifo(let node, _): path(node)
        case .pipe(let id): group.pipes[id].map { "pipe:[\($0.inode)]" }
        case .eventfd: "anon_inode:[eventfd]"
        case .epoll: "anon_inode:[eventpoll]"
        case .timerfd: "anon_inode:[timerfd]"
        case .signalfd: "anon_inode:[signalfd]"
        case .inotify: "anon_inode:inotify"
        case .fanotify: "anon_inode:[fanotify]"
        case .memfd(let id):
            group.sharedMemory[id]?.memfd.map { "/memfd:\($0.name) (deleted)" }
        case .unixSocket(let socket): "socket:[\(socket.inode)]"
        case .inetSocket(let socket): "socket:[\(socket.inode)]"
        case .packetSocket(let socket): "socket:[\(socket.inode)]"
        case .netlinkSocket(let socket): "socket:[\(socket.inode)]"
        case .tunnel(let tunnel): path(tunnel.node)
        case .posixQueue(let queue): "/\(queue.name)" + (queue.isRemoved ? " (deleted)" : "")
        case .terminal(let terminal): path(terminal.node)
        case .namespace(let kind, let number): "\(kind.fileName):[\(number)]"
        // Since 6.9 a file of a filesystem, with another text.
        case .pidfd, .unsupported: nil
        }
    }

    /// The lines of `fdinfo/N` that the model knows too, by their names.
    static func information(_ file: OpenFile, descriptor: Descriptor) -> [(name: String, value: String, isStillOnly: Bool)] {
        let closeOnExec: UInt32 = 0o2000000
        let flags = file.flags & ~closeOnExec | (descriptor.closesOnExec ? closeOnExec : 0)
        var lines = [("flags", "0" + String(flags, radix: 8), false)]
        lines.append(("pos", "\(file.position)", true))
        switch file.kind {
        case .eventfd(let counter, _): lines.append(("eventfd-count", String(counter, radix: 16), true))
        case .signalfd(let mask): lines.append(("sigmask", hex16(mask), false))
        case .timerfd(let timer):
            lines.append(("clockid", "\(timer.clock)", false))
            lines.append(("ticks", "\(timer.ticks)", true))
            lines.append(("settime flags", "0" + String(timer.settimeFlags, radix: 8), false))
            lines.append(
                (
                    "it_interval",
                    "(\(timer.intervalNanoseconds / 1_000_000_000), \(timer.intervalNanoseconds % 1_000_000_000))", false
                ))
        default: break
        }
        return lines
    }

    /// Registrations of an epoll instance, as its fdinfo lists them, in an order of our own.
    static func targets(_ file: OpenFile) -> [String]? {
        guard case .epoll(let targets) = file.kind else { return nil }
        return targets.map {
            "\($0.descriptor) events \(String($0.events, radix: 16)) data \(String($0.data, radix: 16))"
        }.sorted()
    }

    static func recordedTargets(_ record: ProcRecord, _ file: String) -> [String] {
        // "tfd:        5 events:       19 data:              3e8  pos:0 ino:6d5c sdev:8"
        (record.lines(file) ?? []).filter { $0.hasPrefix("tfd:") }.map { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            return words.count > 5 ? "\(words[1]) events \(words[3]) data \(words[5])" : String(line)
        }.sorted()
    }

    /// Watches of an inotify instance, "wd inode device mask", or marks of a fanotify group.
    static func watches(_ file: OpenFile) -> [String]? {
        func hex(_ value: some BinaryInteger) -> String { String(value, radix: 16) }
        switch file.kind {
        case .inotify(let instance):
            return instance.watches.map { watch in
                "wd:\(hex(watch.descriptor)) ino:\(hex(watch.inode)) sdev:\(hex(watch.device)) mask:\(hex(watch.mask))"
            }.sorted()
        case .fanotify(let group):
            return group.marks.map { mark in
                let flags: UInt32 = (mark.survivesModification ? 0x40 : 0) | (mark.isEvictable ? 0x200 : 0)
                let events = "mflags:\(hex(flags)) mask:\(hex(mark.mask)) ignored_mask:\(hex(mark.ignoredMask))"
                return switch mark.target {
                case .inode(let inode, _): "ino:\(hex(inode)) sdev:\(hex(mark.device)) \(events)"
                case .mount(let id, _): "mnt_id:\(hex(id)) \(events)"
                case .filesystem: "sdev:\(hex(mark.device)) \(events)"
                case .other: "other"
                }
            }.sorted()
        default: return nil
        }
    }

    static func recordedWatches(_ record: ProcRecord, _ file: String) -> [String] {
        (record.lines(file) ?? []).filter {
            $0.hasPrefix("inotify ") || $0.hasPrefix("fanotify ") && !$0.hasPrefix("fanotify flags:")
        }.map { line in
            // Without the handle, whose parts begin with an f.
            line.split(whereSeparator: \.isWhitespace).dropFirst().prefix { !$0.hasPrefix("f") }
                .filter { !line.hasPrefix("inotify ") || !$0.hasPrefix("ignored_mask:") }.joined(separator: " ")
        }.sorted()
    }
}
