import ProcessModel

/// Judges fanotify groups: CRIU sets marks of files, directories and mounts again, by their paths.
struct FanotifyAssessor: Sendable {
    /// Files that CRIU opens in the middle of a restore, by device and number, and the directories they lie in.
    private var opened: Set<[UInt64]> = []
    private var directories: Set<ArraySlice<UInt8>> = []

    /// - Parameter held: the files that some descriptor of the group leads to.
    init(_ group: ProtectedGroup, held: Set<FileID>) {
        guard group.openFiles.values.contains(where: { if case .fanotify = $0.kind { true } else { false } }) else { return }
        var files = held
        for space in group.addressSpaces.values {
            files.formUnion(space.mappings.compactMap(\.kind.file) + [space.executable].compactMap { $0 })
        }
        for id in files {
            switch group.openFiles[id]?.kind {
            case .path(let node), .fifo(let node, _): add(node)
            default: break
            }
        }
        for context in group.filesystemContexts.values {
            add(context.root)
            add(context.workingDirectory)
        }
    }

    private mutating func add(_ node: FileNode) {
        opened.insert([node.device, node.inode])
        let path = node.path.bytes
        let directory = path.prefix(path.lastIndex(of: UInt8(ascii: "/")) ?? 0)
        directories.insert(directory.isEmpty ? [UInt8(ascii: "/")] : directory)
    }

    func assess(_ group: Fanotify) -> FileAssessment {
        for mark in group.marks {
            if let reason = refusal(mark) { return .refused("a fanotify group with " + reason) }
        }
        var losses: [String] = []
        let nameless = group.marks.filter { if case .inode(_, nil) = $0.target { true } else { false } }.count
        if nameless > 0 { losses.append("\(nameless) marks of removed files are lost") }
        if group.unreadEvents > 0 { losses.append("\(group.unreadEvents) events that were not read yet are lost") }
        if group.unansweredRequests > 0 {
            losses.append("\(group.unansweredRequests) permission requests that it had not answered are made anew or lost")
        }
        // CRIU makes it as root.
        if group.isUnprivileged { losses.append("it is told more than an unprivileged one") }
        return losses.isEmpty ? .full : .degraded("a fanotify group: " + losses.joined(separator: ", "))
    }

    private func refusal(_ mark: Fanotify.Mark) -> String? {
        if mark.ignoresByFlags { return "a mark that ignores events (FAN_MARK_IGNORE), which CRIU does not know" }
        switch mark.target {
        case .inode(let inode, let path):
            guard mark.asksForPermission else { return nil }
            let holdsRestoreUp =
                opened.contains([mark.device, inode]) || path.map { directories.contains($0.bytes[...]) } ?? false
            return holdsRestoreUp
                ? "permission events of \(path.map(\.description) ?? "a file") that the group has open, which would hold its own restore up"
                : nil
        case .mount(_, nil): return "a mark on a mount that is not the guest's own"
        case .mount(_, let path?):
            return mark.asksForPermission
                ? "permission events of all of mount \(path), which would hold its own restore up" : nil
        case .filesystem: return "a mark on a whole filesystem, which CRIU does not set again"
        case .other: return "a mark on something that is neither file nor mount"
        }
    }
}

extension Fanotify.Mark {
    /// FAN_OPEN_PERM, FAN_ACCESS_PERM, FAN_OPEN_EXEC_PERM and FAN_PRE_ACCESS.
    private static let permissions: UInt32 = 0x1_0000 | 0x2_0000 | 0x4_0000 | 0x10_0000

    var asksForPermission: Bool { mask & Self.permissions != 0 }

    /// What CRIU gives to fanotify_mark(2) beside FAN_MARK_ADD, as /proc tells it: FAN_MARK_IGNORED_SURV_MODIFY and FAN_MARK_EVICTABLE.
    var imageFlags: UInt32 { (survivesModification ? 0x40 : 0) | (isEvictable ? 0x200 : 0) }
}
