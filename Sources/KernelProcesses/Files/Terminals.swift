import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

extension FileReader {
    /// PTY_TYPE_MASTER (include/linux/tty_driver.h).
    private static let masterSubtype: UInt64 = 1
    /// The most open descriptions of one terminal that are believed.
    private static let fileLimit = 1 << 16

    /// The terminal at `address` (`struct tty_struct *`): the slave of a pseudo terminal, or any other.
    public mutating func terminal(at address: VirtualAddress) throws(MemoryFault) -> TerminalID {
        if let known = terminalIDs[address] { return known }
        let terminal = try readTerminal(at: address)
        let id = TerminalID(rawValue: UInt32(truncatingIfNeeded: terminalIDs.count &+ 1))
        terminalIDs[address] = id
        terminals[id] = terminal
        return id
    }

    /// What a file whose operations are a terminal's is open on.
    mutating func terminalFile(at address: VirtualAddress, isHungUp: Bool) throws(MemoryFault) -> OpenFile.Kind {
        let fields = layout.terminals
        let node = try node(ofPathAt: address + layout.file.path.offset)
        let information = try kernel.pointer(layout.file.privateData, of: address)
        guard !information.isNull else { throw MemoryFault(.damaged("open terminal without a terminal"), at: address) }
        let tty = try kernel.pointer(fields.fileTerminal, of: information)
        let role: TerminalFile.Role =
            switch node.type {
            // TTYAUX_MAJOR (Documentation/admin-guide/devices.txt).
            case .characterDevice(5, 0): .controlling
            case .characterDevice(5, 1): .console
            default: try isMaster(tty) ? .master : .device
            }
        let slave = role == .master ? try kernel.pointer(fields.link, of: tty) : tty
        return .terminal(TerminalFile(role: role, terminal: try terminal(at: slave), node: node, isHungUp: isHungUp))
    }

    private func isMaster(_ tty: VirtualAddress) throws(MemoryFault) -> Bool {
        let fields = layout.terminals
        let driver = try kernel.pointer(fields.driver, of: tty)
        let type = try kernel.value(fields.driverType, of: driver)
        let subtype = try kernel.value(fields.driverSubtype, of: driver)
        return type == fields.pseudoType && subtype == Self.masterSubtype
    }

    private func readTerminal(at tty: VirtualAddress) throws(MemoryFault) -> Terminal {
        let fields = layout.terminals
        let driver = try kernel.pointer(fields.driver, of: tty)
        let index = try kernel.uint32(fields.index, of: tty)
        let major = try kernel.value(fields.driverMajor, of: driver)
        let isPseudo = try kernel.value(fields.driverType, of: driver) == fields.pseudoType
        // UNIX98_PTY_SLAVE_MAJOR and TTY_MAJOR; a virtual terminal's minor number is its index and one, for /dev/tty0 is the one that is shown.
        let device: Terminal.Device =
            isPseudo && major == 136
            ? .pseudo(index: index)
            : major == 4 && index < 63 && !isPseudo ? .virtual(number: index + 1) : .other
        var terminal = Terminal(
            device: device, name: String(decoding: try kernel.text(fields.name, of: tty), as: UTF8.self))
        terminal.settings = try settings(at: tty + fields.settings.offset)
        terminal.lockedSettings = try settings(at: tty + fields.lockedSettings.offset)
        let size = try kernel.memory.bytes(at: tty + fields.windowSize.offset, count: 8)
        func cells(_ place: Int) -> UInt32 { UInt32(size[place]) | UInt32(size[place + 1]) << 8 }
        // In the order of struct winsize (include/uapi/asm-generic/termios.h).
        terminal.windowSize = TerminalWindowSize(
            rows: cells(0), columns: cells(2), horizontalPixels: cells(4), verticalPixels: cells(6))
        terminal.sessionID = try number(ofPID: fields.session, of: tty)
        terminal.foregroundGroupID = try number(ofPID: fields.foregroundGroup, of: tty)
        terminal.lineDiscipline = try lineDiscipline(of: tty)
        terminal.isExclusive = try kernel.value(fields.flags, of: tty) & fields.exclusiveBit != 0
        terminal.isOutputStopped = try kernel.value(fields.isStopped, of: tty) != 0
        terminal.packetStatus = try kernel.uint32(fields.packetStatus, of: tty)
        terminal.input = try input(of: tty)
        if case .pseudo = device { try readMaster(of: tty, into: &terminal) }
        return terminal
    }

    private func readMaster(of slave: VirtualAddress, into terminal: inout Terminal) throws(MemoryFault) {
        let fields = layout.terminals
        // The slave's `driver_data` is the dentry of its node (ptmx_open of drivers/tty/pty.c); gone with the master.
        let dentry = try kernel.pointer(fields.driverData, of: slave)
        if !dentry.isNull, let inode = try? kernel.pointer(fields.dentryInode, of: dentry), !inode.isNull {
            terminal.node = TerminalNode(
                uid: try kernel.uint32(layout.inode.uid, of: inode), gid: try kernel.uint32(layout.inode.gid, of: inode),
                mode: try kernel.uint32(layout.inode.mode, of: inode))
            terminal.filesystem = try filesystem(ofInode: inode).device
        }
        let master = try kernel.pointer(fields.link, of: slave)
        terminal.isMasterOpen = try kernel.value(fields.flags, of: slave) & fields.otherClosedBit == 0 && !master.isNull
        guard terminal.isMasterOpen else { return }
        let flags = try kernel.value(fields.flags, of: master)
        terminal.isLocked = flags & fields.lockBit != 0
        terminal.isSlaveClosed = flags & fields.otherClosedBit != 0
        // TIOCEXCL on the master marks the master.
        if flags & fields.exclusiveBit != 0 { terminal.isExclusive = true }
        terminal.isPacketMode = try kernel.value(fields.packetMode, of: master) != 0
        // The master has a line discipline too, which changes nothing (its `init_termios` is raw).
        let output = try input(of: master)
        terminal.output = output.bytes + output.unprocessed
    }

    private func settings(at address: VirtualAddress) throws(MemoryFault) -> TerminalSettings {
        let fields = layout.terminals
        var settings = TerminalSettings()
        settings.input = try kernel.uint32(fields.input, of: address)
        settings.output = try kernel.uint32(fields.output, of: address)
        settings.control = try kernel.uint32(fields.control, of: address)
        settings.local = try kernel.uint32(fields.local, of: address)
        settings.line = try kernel.uint32(fields.line, of: address)
        settings.characters = try kernel.bytes(fields.characters, of: address)
        settings.inputSpeed = try kernel.uint32(fields.inputSpeed, of: address)
        settings.outputSpeed = try kernel.uint32(fields.outputSpeed, of: address)
        return settings
    }

    private func number(ofPID field: Field, of tty: VirtualAddress) throws(MemoryFault) -> Int32 {
        let pid = try kernel.pointer(field, of: tty)
        return pid.isNull ? 0 : try kernel.int32(layout.file.pidNumbers, of: pid)
    }

    private func lineDiscipline(of tty: VirtualAddress) throws(MemoryFault) -> UInt32 {
        let fields = layout.terminals
        let discipline = try kernel.pointer(fields.lineDiscipline, of: tty)
        // None: a terminal that was hung up.
        guard !discipline.isNull else { return 0 }
        let operations = try kernel.pointer(fields.lineDisciplineOperations, of: discipline)
        return try kernel.uint32(fields.lineDisciplineNumber, of: operations)
    }

    /// What was received by a terminal and not yet read.
    private func input(of tty: VirtualAddress) throws(MemoryFault) -> TerminalInput {
        var input = TerminalInput()
        let fields = layout.terminals.queue
        let data = try kernel.pointer(layout.terminals.disciplineData, of: tty)
        if !data.isNull, try lineDiscipline(of: tty) == 0 {
            let size = fields.ring.size
            guard size > 0, size & (size - 1) == 0, size <= 1 << 16 else {
                throw MemoryFault(.damaged("line discipline with a ring of \(size) bytes"), at: data)
            }
            let isCanonical = try kernel.value(fields.isCanonical, of: data) != 0
            // Head and tail run on and wrap. In canonical mode commit_head is not kept (__receive_buf of drivers/tty/n_tty.c).
            let head = try kernel.value(isCanonical ? fields.readHead : fields.committedHead, of: data)
            let tail = try kernel.value(fields.readTail, of: data)
            guard head &- tail <= UInt64(size) else {
                throw MemoryFault(.damaged("line discipline with \(head &- tail) unread bytes"), at: data)
            }
            let ring = try kernel.bytes(fields.ring, of: data)
            let marks = try kernel.bytes(fields.lineEnds, of: data)
            for offset in 0..<Int(head &- tail) {
                let place = Int(truncatingIfNeeded: tail &+ UInt64(offset)) & (size - 1)
                input.bytes.append(ring[place])
                if isCanonical, place / 8 < marks.count, marks[place / 8] >> UInt8(place % 8) & 1 == 1 {
                    input.lineEnds.insert(offset)
                }
            }
        }
        input.unprocessed = try unprocessed(of: tty)
        return input
    }

    /// The most bytes that are believed to wait before a line discipline: TTYB_DEFAULT_MEM_LIMIT (drivers/tty/tty_buffer.c) is 640 KiB.
    private static let bufferLimit = 1 << 20

    /// Bytes that a driver gave to the line discipline, which has not taken them yet (flush_to_ldisc of drivers/tty/tty_buffer.c).
    private func unprocessed(of tty: VirtualAddress) throws(MemoryFault) -> [UInt8] {
        let fields = layout.terminals.queue
        let port = try kernel.pointer(layout.terminals.port, of: tty)
        guard !port.isNull else { return [] }
        var bytes: [UInt8] = []
        var buffer = try kernel.pointer(fields.portHead, of: port)
        var seen = 0
        while !buffer.isNull {
            let end = try kernel.value(fields.bufferCommitted, of: buffer)
            let start = try kernel.value(fields.bufferRead, of: buffer)
            let size = try kernel.value(fields.bufferSize, of: buffer)
            seen += 1
            // Without a flag for each byte (TTYB_NORMAL) the room for the flags holds bytes too (__tty_buffer_request_room).
            guard start <= end, size <= UInt64(Self.bufferLimit), end <= 2 * size, seen <= 4096 else {
                throw MemoryFault(.damaged("terminal buffer with bytes \(start) to \(end) of \(size)"), at: buffer)
            }
            bytes += try kernel.memory.bytes(at: buffer + fields.bufferData.offset + Int(start), count: Int(end - start))
            guard bytes.count <= Self.bufferLimit else {
                throw MemoryFault(.damaged("terminal with more than \(Self.bufferLimit) waiting bytes"), at: tty)
            }
            buffer = try kernel.pointer(fields.bufferNext, of: buffer)
        }
        return bytes
    }

    /// Counts, once all files of the group are known, the descriptions of each slave that others hold.
    mutating func countTerminalFilesOutside() {
        let fields = layout.terminals
        for (address, id) in terminalIDs {
            var outside = 0
            let fault = kernel.forEach(onList: address + fields.files.offset, link: fields.fileLink, limit: Self.fileLimit) {
                guard let file = try? kernel.pointer(fields.fileFile, of: $0) else { return }
                if fileIDs[file] == nil { outside += 1 }
            }
            note(fault, object: "terminal \(terminals[id]?.name ?? "?")", field: "tty_struct.tty_files")
            terminals[id]?.slavesOutside = fault == nil ? outside : outside + 1
        }
    }
}
