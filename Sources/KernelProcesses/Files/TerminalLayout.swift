import KernelTypes

/// `struct tty_struct`, `struct tty_file_private`, `struct tty_driver` and `struct ktermios` (include/linux/tty.h, include/linux/tty_driver.h).
struct TerminalLayout: Sendable {
    let index: Field
    let driver: Field
    let driverType: Field
    let driverSubtype: Field
    /// TTY_DRIVER_TYPE_PTY: a macro, and since 6.16 an enumerator, which is counted from 0.
    let pseudoType: UInt64
    let driverMajor: Field
    let lineDiscipline: Field
    let lineDisciplineOperations: Field
    let lineDisciplineNumber: Field
    let settings: Field
    let lockedSettings: Field
    let name: Field
    let flags: Field
    let windowSize: Field
    /// Since Linux 5.13 (commit 64d608db38ff) in a structure of their own, `ctrl`; bit fields of the terminal before.
    let foregroundGroup: Field
    let session: Field
    let packetStatus: Field
    let packetMode: Field
    /// Since Linux 5.13 (commit 6e94dbc7a4e4) in `flow`.
    let isStopped: Field
    let link: Field
    let disciplineData: Field
    let driverData: Field
    let files: Field
    let port: Field
    let fileTerminal: Field
    let fileFile: Field
    let fileLink: Field
    let input: Field
    let output: Field
    let control: Field
    let local: Field
    let line: Field
    let characters: Field
    let inputSpeed: Field
    let outputSpeed: Field
    /// Bits of `flags`: macros, and the enumerators of newer kernels, which counted them anew.
    let otherClosedBit: UInt64
    let exclusiveBit: UInt64
    let lockBit: UInt64
    let dentryInode: Field
    let queue: TerminalQueueLayout

    init(_ types: TypeTable) throws(KernelError) {
        let tty = try types.structure("tty_struct")
        index = try tty.field("index")
        driver = try tty.field("driver")
        let driverFields = try types.structure("tty_driver")
        driverType = try driverFields.field("type")
        driverSubtype = try driverFields.field("subtype")
        pseudoType = UInt64(clamping: types.enumerator("TTY_DRIVER_TYPE_PTY") ?? 4)
        driverMajor = try driverFields.field("major")
        lineDiscipline = try tty.field("ldisc")
        lineDisciplineOperations = try types.structure("tty_ldisc").field("ops")
        lineDisciplineNumber = try types.structure("tty_ldisc_ops").field("num")
        settings = try tty.field("termios")
        lockedSettings = try tty.field("termios_locked")
        name = try tty.field("name")
        flags = try tty.field("flags")
        windowSize = try tty.field("winsize")
        foregroundGroup = try tty.field(anyOf: "ctrl.pgrp", "pgrp")
        session = try tty.field(anyOf: "ctrl.session", "session")
        packetStatus = try tty.field(anyOf: "ctrl.pktstatus", "ctrl_status")
        packetMode = try tty.field(anyOf: "ctrl.packet", "packet")
        isStopped = try tty.field(anyOf: "flow.stopped", "stopped")
        link = try tty.field("link")
        disciplineData = try tty.field("disc_data")
        driverData = try tty.field("driver_data")
        files = try tty.field("tty_files")
        port = try tty.field("port")
        let file = try types.structure("tty_file_private")
        fileTerminal = try file.field("tty")
        fileFile = try file.field("file")
        fileLink = try file.field("list")
        let termios = try types.structure("ktermios")
        input = try termios.field("c_iflag")
        output = try termios.field("c_oflag")
        control = try termios.field("c_cflag")
        local = try termios.field("c_lflag")
        line = try termios.field("c_line")
        characters = try termios.field("c_cc")
        inputSpeed = try termios.field("c_ispeed")
        outputSpeed = try termios.field("c_ospeed")
        func bit(_ name: String, _ macro: Int64) -> UInt64 {
            let value = types.enumerator(name) ?? macro
            return 0..<64 ~= value ? 1 << UInt64(value) : 0
        }
        otherClosedBit = bit("TTY_OTHER_CLOSED", 2)
        exclusiveBit = bit("TTY_EXCLUSIVE", 3)
        lockBit = bit("TTY_PTY_LOCK", 16)
        dentryInode = try types.structure("dentry").field("d_inode")
        queue = try TerminalQueueLayout(types)
    }
}

/// Where bytes wait: `struct tty_bufhead` and `struct tty_buffer` (include/linux/tty_buffer.h) before the line discipline, `struct n_tty_data`
/// (drivers/tty/n_tty.c) in it.
struct TerminalQueueLayout: Sendable {
    let portHead: Field
    let bufferNext: Field
    let bufferCommitted: Field
    let bufferRead: Field
    let bufferSize: Field
    let bufferData: Field
    let readHead: Field
    let committedHead: Field
    let readTail: Field
    let isCanonical: Field
    let ring: Field
    let lineEnds: Field

    init(_ types: TypeTable) throws(KernelError) {
        portHead = try types.structure("tty_port").field("buf.head")
        let buffer = try types.structure("tty_buffer")
        bufferNext = try buffer.field("next")
        bufferCommitted = try buffer.field("commit")
        bufferRead = try buffer.field("read")
        bufferSize = try buffer.field("size")
        bufferData = try buffer.field("data")
        let data = try types.structure("n_tty_data")
        readHead = try data.field("read_head")
        committedHead = try data.field("commit_head")
        readTail = try data.field("read_tail")
        isCanonical = try data.field("icanon")
        ring = try data.field("read_buf")
        lineEnds = try data.field("read_flags")
    }
}
