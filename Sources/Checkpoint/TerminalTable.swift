import ProcessModel

/// The terminals of a group as image entries.
struct TerminalTable: Sendable {
    /// Entries of the files image.
    private(set) var files: [ProtobufMessage] = []
    /// Of the tty-info image.
    private(set) var information: [ProtobufMessage] = []
    /// Of the tty-data image.
    private(set) var data: [ProtobufMessage] = []
    /// Those that are entries of regular files.
    private(set) var reopened: Set<FileID> = []
    /// Entries of names that were removed.
    private(set) var ghosts: [FileTable.Ghost] = []

    /// The pseudo terminals that CRIU makes, of whatever devpts.
    private(set) var made: [Terminal] = []

    private let group: ProtectedGroup
    private let assessor: TerminalAssessor
    private var numbers: [Key: UInt32] = [:]
    /// CRIU numbers a pseudo terminal's ends 2 × index and one more, up to index 1000; what is above only has to be unique and even
    /// (tty_gen_id and MAX_TTYS of criu/tty.c).
    private var nextNumber: UInt32 = 2004
    private static let numberLimit: UInt32 = 2174

    private struct Key: Hashable {
        var form: TerminalAssessor.Form
        var terminal: TerminalID
    }

    /// - Parameters:
    ///   - ids: descriptions that are restored as what they were.
    ///   - takeID: numbers an entry of the files image.
    init(_ group: ProtectedGroup, assessor: TerminalAssessor, ids: [FileID], takeID: () -> UInt32) {
        self.group = group
        self.assessor = assessor
        // Masters first, and first of the slaves one that can be written to: CRIU links the first two ends that it meets, and has what waits in one of
        // them written through the other.
        let ordered = ids.compactMap { id in assessor.form(of: id).map { (id, $0, rank(of: id, form: $0)) } }
            .sorted { ($0.2, $0.0) < ($1.2, $1.0) }
        for (id, form, _) in ordered { add(id, form: form, takeID: takeID) }
    }

    private func rank(of id: FileID, form: TerminalAssessor.Form) -> Int {
        guard form != .master else { return 0 }
        guard case .terminal(let file) = group.openFiles[id]?.kind else { return 2 }
        return form == .slave && assessor.writableSlave(of: file.terminal) == id ? 1 : 2
    }

    private mutating func add(_ id: FileID, form: TerminalAssessor.Form, takeID: () -> UInt32) {
        if form == .virtual {
            reopen(id)
            return
        }
        guard let open = group.openFiles[id], case .terminal(let file) = open.kind,
            let terminal = group.terminals[file.terminal],
            let number = number(form, file: file, terminal: terminal)
        else { return }
        let node = takeID()
        let owner = owner(form, file: file, terminal: terminal)
        let path = form == .controllingByName ? KernelString("/dev/\(terminal.devicePath)") : file.node.path
        let mount = form == .controllingByName ? nil : file.node.mountID
        files.append(TerminalImage.node(id: node, path: path, mount: mount, mode: owner?.mode, file: open))
        files.append(TerminalImage.file(id: id.rawValue, information: number, node: node, file: open))
        if file.node.isDeleted, form == .console { ghosts.append(FileTable.Ghost(entry: node, node: file.node)) }
    }

    private mutating func reopen(_ id: FileID) {
        guard let open = group.openFiles[id], case .terminal(let file) = open.kind else { return }
        files.append(
            TerminalImage.reopened(id: id.rawValue, file: open, path: file.node.path, mount: file.node.mountID))
        reopened.insert(id)
        if file.node.isDeleted { ghosts.append(FileTable.Ghost(entry: id.rawValue, node: file.node)) }
    }

    private func owner(_ form: TerminalAssessor.Form, file: TerminalFile, terminal: Terminal) -> TerminalNode? {
        switch form {
        case .slave, .hungUpSlave, .controllingByName: terminal.node
        case .master, .controlling, .console, .virtual:
            TerminalNode(uid: file.node.uid, gid: file.node.gid, mode: file.node.mode)
        }
    }

    /// The number of a terminal's entry in the tty-info image, which is made when it is first asked for.
    private mutating func number(_ form: TerminalAssessor.Form, file: TerminalFile, terminal: Terminal) -> UInt32? {
        let key = Key(form: form == .controllingByName ? .slave : form, terminal: file.terminal)
        if let known = numbers[key] { return known }
        let number: UInt32
        switch (form, terminal.device) {
        case (.master, .pseudo(let index)): number = 2 * index + 1
        case (.slave, .pseudo(let index)), (.hungUpSlave, .pseudo(let index)), (.controllingByName, .pseudo(let index)):
            number = 2 * index
        default:
            guard nextNumber <= Self.numberLimit else { return nil }
            number = nextNumber
            nextNumber += 2
        }
        numbers[key] = number
        // A slave that was hung up gets a master for a moment.
        if form == .master || form == .hungUpSlave, case .pseudo = terminal.device {
            var one = terminal
            // Without a master the terminal no longer tells.
            if one.filesystem == 0 { one.filesystem = file.node.device }
            made.append(one)
        }
        information.append(
            TerminalImage.information(
                id: number, form: form, terminal: terminal, session: assessor.session(of: file.terminal),
                foregroundGroup: assessor.foregroundGroup(of: file.terminal),
                owner: owner(form, file: file, terminal: terminal)))
        if let queue = assessor.queue(of: file.terminal) {
            if form == .master, !queue.written.isEmpty {
                data.append(TerminalImage.data(information: number, bytes: queue.written))
            }
            if form == .slave, !queue.typed.isEmpty {
                data.append(TerminalImage.data(information: number, bytes: queue.typed))
            }
        }
        return number
    }
}

extension Terminal {
    /// N of /dev/pts/N.
    var number: UInt32? { if case .pseudo(let index) = device { index } else { nil } }

    /// Below /dev.
    var devicePath: String {
        if case .pseudo(let index) = device { "pts/\(index)" } else { name }
    }
}
