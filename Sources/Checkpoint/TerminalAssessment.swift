import ProcessModel

/// Judges the terminals of a group: which CRIU makes again, by which of its kinds, and what is different then.
///
/// A pseudo terminal is made again when its master is in the group, for whoever has the master made it; with the master outside, a slave
/// leads to nobody.
struct TerminalAssessor: Sendable {
    /// What becomes of an open description.
    enum Form: Sendable, Hashable {
        case master
        case slave
        /// The slave of a pseudo terminal whose master is closed.
        case hungUpSlave
        /// /dev/tty in a process that gets its controlling terminal back first.
        case controlling
        /// /dev/tty elsewhere: its terminal by name.
        case controllingByName
        case console
        /// A virtual terminal, opened again and no more: CRIU would also set its size, which fails when the screen has another driver as yet
        /// (vc_do_resize of drivers/tty/vt/vt.c), and with it the whole group.
        case virtual
    }

    /// MAX_PTY_INDEX of criu/tty.c.
    private static let indexLimit: UInt32 = 1000

    private let terminals: [TerminalID: Terminal]
    private let processes: [Int32: DeadProcess]
    private let group: ProtectedGroup
    /// Those with a master in the group, and the open descriptions of their slaves.
    private(set) var masters: [TerminalID: FileID] = [:]
    private var slaves: [TerminalID: [FileID]] = [:]
    private var queues: [TerminalID: TerminalQueue] = [:]

    init(_ group: ProtectedGroup, held: Set<FileID>) {
        self.group = group
        terminals = group.terminals
        processes = Dictionary(group.processes.map { ($0.pid, $0) }) { first, _ in first }
        var indexes: Set<UInt32> = []
        for id in held.sorted() {
            guard case .terminal(let file) = group.openFiles[id]?.kind, let terminal = terminals[file.terminal] else {
                continue
            }
            guard case .pseudo(let index) = terminal.device else { continue }
            if file.role == .master, terminal.isMasterOpen, index <= Self.indexLimit, indexes.insert(index).inserted {
                masters[file.terminal] = id
            }
            if file.role == .device, !file.isHungUp { slaves[file.terminal, default: []].append(id) }
        }
        for id in masters.keys { if let terminal = terminals[id] { queues[id] = TerminalQueue(terminal) } }
    }

    /// nil: its descriptors lead to /dev/null.
    func form(of id: FileID) -> Form? {
        guard let open = group.openFiles[id], case .terminal(let file) = open.kind, let terminal = terminals[file.terminal]
        else {
            return nil
        }
        let isRestored = masters[file.terminal] != nil
        switch (file.role, terminal.device) {
        case (.master, _): return masters[file.terminal] == id ? .master : nil
        case (.device, .virtual), (.console, .virtual): return file.isHungUp ? nil : .virtual
        case (.console, _): return file.isHungUp ? nil : .console
        case (.device, .pseudo(let index)):
            if file.isHungUp { return terminal.isMasterOpen || index > Self.indexLimit ? nil : .hungUpSlave }
            return isRestored ? .slave : nil
        case (.controlling, _):
            if file.isHungUp { return nil }
            if let opener = opener(of: id), opener.pid == leader(of: file.terminal) { return .controlling }
            return isRestored ? .controllingByName : nil
        default: return nil
        }
    }

    /// The session that gets the terminal as its controlling one; 0: none.
    func session(of id: TerminalID) -> Int32 { leader(of: id) ?? 0 }

    /// Only a session leader can be given a controlling terminal.
    private func leader(of id: TerminalID) -> Int32? {
        guard masters[id] != nil, let terminal = terminals[id], terminal.sessionID > 0,
            let leader = processes[terminal.sessionID], leader.sessionID == leader.pid, leader.controllingTerminal == id
        else { return nil }
        return leader.pid
    }

    /// TIOCSPGRP takes only a process group of the session that exists.
    func foregroundGroup(of id: TerminalID) -> Int32 {
        guard let session = leader(of: id), let terminal = terminals[id] else { return 0 }
        let isThere = processes.values.contains {
            $0.sessionID == session && $0.processGroupID == terminal.foregroundGroupID
        }
        return isThere ? terminal.foregroundGroupID : processes[session]?.processGroupID ?? session
    }

    func queue(of id: TerminalID) -> TerminalQueue? {
        guard var queue = queues[id] else { return nil }
        if writableSlave(of: id) == nil {
            queue.typed = []
            queue.written = []
        }
        return queue
    }

    /// CRIU writes through the first slave, which so has to be one that takes bytes.
    func writableSlave(of id: TerminalID) -> FileID? {
        slaves[id]?.first { file in (group.openFiles[file]?.flags ?? 0) & 3 != 0 }
    }

    /// CRIU has the process with the lowest PID open a file (fdinfo_rst_prio of criu/files.c) and hand it to the others.
    private func opener(of file: FileID) -> DeadProcess? {
        group.processes.filter { process in
            process.descriptorTable.flatMap { group.descriptorTables[$0] }?.descriptors.contains { $0.file == file } == true
        }.min { $0.pid < $1.pid }
    }

    func assess(_ id: FileID) -> FileAssessment {
        guard let open = group.openFiles[id], case .terminal(let file) = open.kind, let terminal = terminals[file.terminal]
        else {
            return .refused("a terminal that could not be read")
        }
        let name = "terminal \(file.node.path)"
        guard let form = form(of: id) else {
            return file.isHungUp
                ? .degraded("\(name) was hung up; its descriptors lead to /dev/null", .null)
                : .degraded("\(name) is gone; its descriptors lead to /dev/null", .null)
        }
        var concerns: [String] = []
        switch form {
        case .master:
            concerns = self.concerns(of: file.terminal, terminal)
            if open.owner.pid != 0 { concerns.append("it no longer sends signals when bytes arrive") }
        case .slave, .controlling: concerns = self.concerns(of: file.terminal, terminal)
        case .controllingByName:
            concerns = self.concerns(of: file.terminal, terminal) + ["it is open as /dev/\(terminal.name) now, not as /dev/tty"]
        case .hungUpSlave: break
        case .console: concerns = deviceConcerns(terminal)
        case .virtual:
            concerns =
                deviceConcerns(terminal) + sessionConcerns(of: file.terminal, terminal) + [
                    "what its screen showed is gone, and its settings are those of a new one"
                ]
        }
        return concerns.isEmpty ? .full : .degraded("\(name): " + concerns.joined(separator: "; "))
    }

    private func sessionConcerns(of id: TerminalID, _ terminal: Terminal) -> [String] {
        guard terminal.sessionID > 0 else { return [] }
        guard leader(of: id) != nil else {
            return ["it is no longer the controlling terminal of session \(terminal.sessionID)"]
        }
        let group = foregroundGroup(of: id)
        return group == terminal.foregroundGroupID
            ? [] : ["its foreground process group \(terminal.foregroundGroupID) had ended; it is \(group) now"]
    }

    private func deviceConcerns(_ terminal: Terminal) -> [String] {
        var concerns: [String] = []
        if !terminal.input.isEmpty { concerns.append("its unread input is lost") }
        if terminal.isOutputStopped { concerns.append("its output was stopped and flows again") }
        if terminal.isExclusive { concerns.append("it is no longer exclusive (TIOCEXCL)") }
        if terminal.lineDiscipline != 0 { concerns.append("its line discipline \(terminal.lineDiscipline) is N_TTY now") }
        return concerns
    }

    private func concerns(of id: TerminalID, _ terminal: Terminal) -> [String] {
        var concerns: [String] = []
        if terminal.isOutputStopped { concerns.append("its output was stopped and flows again") }
        if terminal.isExclusive { concerns.append("it is no longer exclusive (TIOCEXCL)") }
        if terminal.lineDiscipline != 0 { concerns.append("its line discipline \(terminal.lineDiscipline) is N_TTY now") }
        if terminal.isPacketMode, terminal.packetStatus != 0 { concerns.append("an event of its packet mode is lost") }
        if terminal.slavesOutside > 0 { concerns.append("processes outside the group had it open too") }
        concerns += sessionConcerns(of: id, terminal)
        let hasSlave = slaves[id]?.isEmpty == false
        if terminal.isSlaveClosed, !hasSlave, leader(of: id) == nil {
            concerns.append("its other end was closed, which its reader is no longer told")
        }
        if !hasSlave, let node = terminal.node, node.uid != 0 { concerns.append("its owner is root now") }
        if let queue = queues[id] {
            if !terminal.input.isEmpty || !terminal.output.isEmpty, writableSlave(of: id) == nil {
                concerns.append("its unread input and output are lost")
            } else {
                concerns += queue.concerns
            }
        }
        return concerns
    }

    /// What a process is to be told about its controlling terminal.
    func obstacle(of process: DeadProcess) -> Obstacle? {
        guard let id = process.controllingTerminal else { return nil }
        let name = terminals[id]?.name ?? "?"
        let leader = leader(of: id)
        if leader == process.pid { return nil }
        // CRIU opens terminals after it has forked, and a controlling terminal is inherited at a fork only.
        let reason =
            leader == process.sessionID
            ? "its controlling terminal \(name) belongs to its session leader alone now: no job control, no /dev/tty"
            : "its controlling terminal \(name) is gone"
        return Obstacle(.degraded, pid: process.pid, reason: reason)
    }
}
