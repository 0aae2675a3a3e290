/// One terminal: a `struct tty_struct`, for a pseudo terminal that of its slave, with what its master keeps.
public struct TerminalID: SharedObjectID {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// What the kernel knows of a terminal (include/linux/tty.h).
public struct Terminal: Sendable, Hashable {
    public enum Device: Sendable, Hashable {
        /// /dev/pts/`index` and the master that goes with it.
        case pseudo(index: UInt32)
        /// /dev/tty`number`.
        case virtual(number: UInt32)
        /// A serial line, a console of the hypervisor.
        case other
    }

    public var device: Device
    /// `tty->name`: "pts3", "ttyS0".
    public var name: String
    public var settings = TerminalSettings()
    /// `termios_locked`: a set bit is one that nobody but root may change.
    public var lockedSettings = TerminalSettings()
    public var windowSize = TerminalWindowSize()
    /// `ctrl.session`: the session that it controls; 0: none.
    public var sessionID: Int32 = 0
    /// `ctrl.pgrp`: the foreground process group; 0: none.
    public var foregroundGroupID: Int32 = 0
    /// N_* of its line discipline; 0 is N_TTY.
    public var lineDiscipline: UInt32 = 0
    /// TIOCSPTLCK: its slave cannot be opened.
    public var isLocked = false
    /// TIOCEXCL.
    public var isExclusive = false
    /// TIOCPKT, and the events that the master has not yet been told of.
    public var isPacketMode = false
    public var packetStatus: UInt32 = 0
    /// By ^S or TCOOFF.
    public var isOutputStopped = false
    /// The master of a pseudo terminal has not been closed.
    public var isMasterOpen = false
    /// TTY_OTHER_CLOSED of the master: its slave was open, and nobody has it open any more.
    public var isSlaveClosed = false
    /// Open descriptions of the slave that no process of the group holds.
    public var slavesOutside = 0
    /// What a reader of the terminal gets next.
    public var input = TerminalInput()
    /// What was written to the terminal and the reader of its master gets next.
    public var output: [UInt8] = []
    /// Owner and mode of /dev/pts/`index`.
    public var node: TerminalNode?
    /// `s_dev` of the devpts that `index` counts in, as long as its master is open; a mount namespace may have one of its own.
    public var filesystem: UInt64 = 0

    public init(device: Device, name: String) {
        self.device = device
        self.name = name
    }
}

/// What was typed and not yet read.
public struct TerminalInput: Sendable, Hashable {
    /// As the line discipline keeps it, edited and translated.
    public var bytes: [UInt8]
    /// Indexes into `bytes` where a line ends (`read_flags`), in canonical mode; an end-of-file character stands there as 0.
    public var lineEnds: Set<Int>
    /// Behind it: bytes that the line discipline has not yet seen.
    public var unprocessed: [UInt8]

    public init(bytes: [UInt8] = [], lineEnds: Set<Int> = [], unprocessed: [UInt8] = []) {
        self.bytes = bytes
        self.lineEnds = lineEnds
        self.unprocessed = unprocessed
    }

    public var isEmpty: Bool { bytes.isEmpty && unprocessed.isEmpty }
}

/// `struct ktermios` (include/uapi/asm-generic/termbits.h).
public struct TerminalSettings: Sendable, Hashable {
    public var input: UInt32 = 0
    public var output: UInt32 = 0
    public var control: UInt32 = 0
    public var local: UInt32 = 0
    public var line: UInt32 = 0
    /// `c_cc`, NCCS (19) of them.
    public var characters: [UInt8] = []
    public var inputSpeed: UInt32 = 0
    public var outputSpeed: UInt32 = 0

    public init() {}
}

/// `struct winsize`.
public struct TerminalWindowSize: Sendable, Hashable {
    public var rows: UInt32
    public var columns: UInt32
    public var horizontalPixels: UInt32
    public var verticalPixels: UInt32

    public init(rows: UInt32 = 0, columns: UInt32 = 0, horizontalPixels: UInt32 = 0, verticalPixels: UInt32 = 0) {
        self.rows = rows
        self.columns = columns
        self.horizontalPixels = horizontalPixels
        self.verticalPixels = verticalPixels
    }
}

/// Who may open a pseudo terminal's slave.
public struct TerminalNode: Sendable, Hashable {
    public var uid: UInt32
    public var gid: UInt32
    public var mode: UInt32

    public init(uid: UInt32, gid: UInt32, mode: UInt32) {
        self.uid = uid
        self.gid = gid
        self.mode = mode
    }
}

/// An open description of a terminal.
public struct TerminalFile: Sendable, Hashable {
    public enum Role: Sendable, Hashable {
        /// Of /dev/ptmx.
        case master
        /// The terminal by its own name.
        case device
        /// Of /dev/tty.
        case controlling
        /// Of /dev/console.
        case console
    }

    public var role: Role
    public var terminal: TerminalID
    /// The name that it was opened by.
    public var node: FileNode
    /// Its terminal was hung up: reads find the end, and everything else fails.
    public var isHungUp: Bool

    public init(role: Role, terminal: TerminalID, node: FileNode, isHungUp: Bool = false) {
        self.role = role
        self.terminal = terminal
        self.node = node
        self.isHungUp = isHungUp
    }
}
