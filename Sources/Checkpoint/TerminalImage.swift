import ProcessModel

/// `tty_file_entry`, `tty_info_entry` and `tty_data_entry` of images/tty.proto.
enum TerminalImage {
    /// TtyType.
    private enum Kind: UInt32 {
        case pseudo = 1
        case console = 2
        case controlling = 4
    }

    /// `tty_file_entry`; `node` is the entry of the name that it is opened by.
    static func file(id: UInt32, information: UInt32, node: UInt32, file: OpenFile) -> ProtobufMessage {
        FileImage.entry(
            .terminal, id: id, field: 19,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, information)
                entry.unsigned(3, FileImage.reopenFlags(file.flags))
                entry.message(4, FileImage.fileOwner(file.owner))
                entry.unsigned(6, node)
            })
    }

    /// `reg_file_entry` of the name. With a mode CRIU sets it.
    static func node(id: UInt32, path: KernelString, mount: Int32?, mode: UInt32?, file: OpenFile) -> ProtobufMessage {
        FileImage.entry(
            .regular, id: id, field: 3,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, FileImage.reopenFlags(file.flags))
                entry.unsigned(3, FileImage.noPosition)
                entry.message(5, FileImage.fileOwner(file.owner))
                entry.data(6, path.bytes)
                if let mount { entry.zigzag(7, mount) }
                if let mode { entry.unsigned(10, mode) }
            })
    }

    /// A terminal that is opened again and no more, as a regular file; O_NOCTTY keeps it from becoming a controlling one.
    static func reopened(id: UInt32, file: OpenFile, path: KernelString, mount: Int32?) -> ProtobufMessage {
        var open = file
        open.flags |= 0o400
        return node(id: id, path: path, mount: mount, mode: nil, file: open)
    }

    /// `tty_info_entry`.
    static func information(
        id: UInt32, form: TerminalAssessor.Form, terminal: Terminal, session: Int32, foregroundGroup: Int32,
        owner: TerminalNode?
    ) -> ProtobufMessage {
        let kind: Kind =
            switch form {
            case .master, .slave, .hungUpSlave, .controllingByName: .pseudo
            case .console, .virtual: .console
            case .controlling: .controlling
            }
        return ProtobufMessage { entry in
            entry.unsigned(1, id)
            entry.unsigned(2, kind.rawValue)
            entry.flag(3, form == .master && terminal.isLocked)
            entry.flag(4, terminal.isExclusive)
            entry.flag(5, form == .master && terminal.isPacketMode)
            entry.unsigned(6, UInt32(bitPattern: session))
            entry.unsigned(7, UInt32(bitPattern: foregroundGroup))
            entry.unsigned(8, device(form, terminal))
            // A terminal that was hung up is one without settings.
            if form != .hungUpSlave {
                entry.message(9, settings(terminal.settings))
                entry.message(10, settings(terminal.lockedSettings))
                let window = terminal.windowSize
                entry.message(11) { size in
                    size.unsigned(1, window.rows)
                    size.unsigned(2, window.columns)
                    size.unsigned(3, window.horizontalPixels)
                    size.unsigned(4, window.verticalPixels)
                }
            }
            if kind == .pseudo, case .pseudo(let index) = terminal.device { entry.message(12) { $0.unsigned(1, index) } }
            if let owner {
                entry.unsigned(14, owner.uid)
                entry.unsigned(15, owner.gid)
            }
        }
    }

    /// `st_rdev`, by which CRIU tells the kinds apart.
    private static func device(_ form: TerminalAssessor.Form, _ terminal: Terminal) -> UInt32 {
        switch (form, terminal.device) {
        case (.master, _): 5 << 8 | 2
        case (.console, _), (.virtual, _): 5 << 8 | 1
        case (.controlling, _): 5 << 8
        // new_encode_dev of include/linux/kdev_t.h.
        case (_, .pseudo(let index)): 136 << 8 | index & 0xff | (index & ~0xff) << 12
        default: 0
        }
    }

    /// `termios_entry`. CRIU copies `c_cc` as it lies in memory, over the words of the repeated field: NCCS (19) of them with four characters each.
    private static func settings(_ settings: TerminalSettings) -> ProtobufMessage {
        let characters = LittleEndianBytes(Array(settings.characters.prefix(19)) + Array(repeating: 0, count: 76))
        return ProtobufMessage { entry in
            entry.unsigned(1, settings.input)
            entry.unsigned(2, settings.output)
            entry.unsigned(3, settings.control)
            entry.unsigned(4, settings.local)
            entry.unsigned(5, settings.line)
            entry.unsigned(6, settings.inputSpeed)
            entry.unsigned(7, settings.outputSpeed)
            entry.repeated(8, (0..<19).map { characters.uint32(4 * $0) })
        }
    }

    /// `tty_data_entry`: bytes that a reader of this end is to get.
    static func data(information: UInt32, bytes: [UInt8]) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, information)
            entry.data(2, bytes)
        }
    }
}
