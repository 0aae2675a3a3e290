import ProcessModel

/// What has to be written into the two ends of a new pseudo terminal so that the same bytes wait in it as did in the dead one.
///
/// CRIU sets the terminal's settings first and then writes: what had been output into the slave, what had been typed into the master. Both go
/// through the line discipline (drivers/tty/n_tty.c) once more, so it is its inverse that has to be written.
struct TerminalQueue: Sendable, Equatable {
    /// For the master.
    var typed: [UInt8] = []
    /// For the slave.
    var written: [UInt8] = []
    /// What will not be as it was.
    var concerns: [String] = []

    /// What a pseudo terminal surely takes without a reader: its buffers hold 64 KiB, and a write that waits would hang the restore.
    static let limit = 32 << 10

    init(_ terminal: Terminal) {
        guard !terminal.input.isEmpty || !terminal.output.isEmpty else { return }
        let discipline = LineDiscipline(terminal.settings)
        var output = terminal.output
        if let keys = discipline.keys(for: terminal.input) {
            typed = keys.bytes + terminal.input.unprocessed
            if !keys.echo.isEmpty {
                if output.suffix(keys.echo.count) == keys.echo[...] {
                    output.removeLast(keys.echo.count)
                } else {
                    concerns.append("its unread input is echoed once more")
                }
            }
        } else {
            concerns.append("its \(terminal.input.bytes.count) bytes of unread input are lost")
            typed = terminal.input.unprocessed
        }
        if let bytes = discipline.source(of: output) {
            written = bytes
        } else {
            concerns.append("its \(output.count) bytes of unread output are lost")
        }
        if typed.count > Self.limit || written.count > Self.limit {
            typed = []
            written = []
            concerns = ["more unread input or output than can be restored is lost"]
        }
    }
}

/// N_TTY with certain settings.
struct LineDiscipline: Sendable {
    private let settings: TerminalSettings

    init(_ settings: TerminalSettings) {
        self.settings = settings
    }

    /// Bits of c_iflag, c_oflag, c_lflag (include/uapi/asm-generic/termbits.h).
    private enum Flag {
        static let parityMark: UInt32 = 0o10
        static let strip: UInt32 = 0o40
        static let newlineToReturn: UInt32 = 0o100
        static let ignoreReturn: UInt32 = 0o200
        static let returnToNewline: UInt32 = 0o400
        static let upperToLower: UInt32 = 0o1000
        static let flowControl: UInt32 = 0o2000

        static let process: UInt32 = 0o1
        static let lowerToUpper: UInt32 = 0o2
        static let outputNewline: UInt32 = 0o4
        static let outputReturn: UInt32 = 0o10
        static let noReturnAtStart: UInt32 = 0o20
        static let expandTabs: UInt32 = 0o14000

        static let signals: UInt32 = 0o1
        static let canonical: UInt32 = 0o2
        static let echo: UInt32 = 0o10
        static let echoNewline: UInt32 = 0o100
        static let echoControl: UInt32 = 0o1000
        static let extended: UInt32 = 0o100000
        static let external: UInt32 = 0o200000
    }

    /// Indexes into c_cc.
    private enum Character {
        static let interrupt = 0, quit = 1, erase = 2, kill = 3, endOfFile = 4, start = 8, stop = 9, suspend = 10,
            endOfLine = 11
        static let reprint = 12, wordErase = 14, literalNext = 15, secondEndOfLine = 16
    }

    private static let newline = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")
    private static let tab = UInt8(ascii: "\t")

    private func input(_ flag: UInt32) -> Bool { settings.input & flag != 0 }
    private func output(_ flag: UInt32) -> Bool { settings.output & flag != 0 }
    private func local(_ flag: UInt32) -> Bool { settings.local & flag != 0 }

    /// nil when it is disabled.
    private func character(_ index: Int) -> UInt8? {
        guard settings.characters.indices.contains(index), settings.characters[index] != 0 else { return nil }
        return settings.characters[index]
    }

    /// The keys that make `input`, and what typing them shows; nil: no keys do.
    func keys(for input: TerminalInput) -> (bytes: [UInt8], echo: [UInt8])? {
        guard !local(Flag.external) else { return nil }
        var keys: [UInt8] = []
        var echo: [UInt8] = []
        let isCanonical = local(Flag.canonical)
        for (index, byte) in input.bytes.enumerated() {
            let endsLine = isCanonical && input.lineEnds.contains(index)
            if endsLine, byte == 0 {
                guard let end = character(Character.endOfFile) else { return nil }
                keys.append(end)
                continue
            }
            if passes(byte, endsLine: endsLine) {
                keys.append(byte)
                guard let shown = self.echo(of: byte, endsLine: endsLine) else { return nil }
                echo += shown
            } else if isCanonical, local(Flag.extended), !local(Flag.echo), let literal = character(Character.literalNext),
                byte < 0x80
            {
                keys += [literal, byte]
            } else {
                return nil
            }
            // A line that was pushed without its end.
            if endsLine, byte != Self.newline, byte != character(Character.endOfLine),
                byte != character(Character.secondEndOfLine)
            {
                guard let end = character(Character.endOfFile) else { return nil }
                keys.append(end)
            }
        }
        return (keys, echo)
    }

    /// Whether a byte that is typed is what a reader gets.
    private func passes(_ byte: UInt8, endsLine: Bool) -> Bool {
        if byte >= 0x80, input(Flag.strip) { return false }
        if byte == 0xff, input(Flag.parityMark) { return false }
        if input(Flag.upperToLower), local(Flag.extended), (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) {
            return false
        }
        if byte == Self.carriageReturn, input(Flag.ignoreReturn | Flag.returnToNewline) { return false }
        if byte == Self.newline, input(Flag.newlineToReturn) { return false }
        var special: [Int] = []
        if input(Flag.flowControl) { special += [Character.start, Character.stop] }
        if local(Flag.signals) { special += [Character.interrupt, Character.quit, Character.suspend] }
        if local(Flag.canonical) {
            special += [Character.erase, Character.kill, Character.endOfFile]
            if local(Flag.extended) { special += [Character.wordErase, Character.reprint, Character.literalNext] }
            if byte == Self.newline { return endsLine }
            if byte == character(Character.endOfLine) { return endsLine }
            if byte == character(Character.secondEndOfLine), local(Flag.extended) { return endsLine }
        }
        return !special.contains { character($0) == byte }
    }

    /// What the master sees of a byte that is typed (echo_char, and process_echoes for `^X`); nil: that depends on the cursor's column.
    private func echo(of byte: UInt8, endsLine: Bool) -> [UInt8]? {
        if byte == Self.newline, local(Flag.canonical) {
            return local(Flag.echo | Flag.echoNewline) ? processed([byte]) : []
        }
        guard local(Flag.echo) else { return [] }
        if byte < 0x20 || byte == 0x7f, byte != Self.tab, local(Flag.echoControl) { return [UInt8(ascii: "^"), byte ^ 0x40] }
        return processed([byte])
    }

    /// What the master reads when `bytes` are written to the terminal (do_output_char); nil: that depends on the cursor's column.
    func processed(_ bytes: [UInt8]) -> [UInt8]? {
        guard output(Flag.process) else { return bytes }
        var result: [UInt8] = []
        for byte in bytes {
            switch byte {
            case Self.newline where output(Flag.outputNewline): result += [Self.carriageReturn, Self.newline]
            case Self.carriageReturn where output(Flag.noReturnAtStart): return nil
            case Self.carriageReturn where output(Flag.outputReturn): result.append(Self.newline)
            case Self.tab where settings.output & Flag.expandTabs == Flag.expandTabs: return nil
            case UInt8(ascii: "a")...UInt8(ascii: "z") where output(Flag.lowerToUpper): result.append(byte - 0x20)
            default: result.append(byte)
            }
        }
        return result
    }

    /// What has to be written for the master to read `bytes`; nil: nothing does that.
    func source(of bytes: [UInt8]) -> [UInt8]? {
        var source: [UInt8] = []
        var index = 0
        while index < bytes.count {
            let pair = bytes[index...].prefix(2)
            if output(Flag.process), output(Flag.outputNewline), pair.elementsEqual([Self.carriageReturn, Self.newline]) {
                source.append(Self.newline)
                index += 2
            } else {
                source.append(bytes[index])
                index += 1
            }
        }
        return processed(source) == bytes ? source : nil
    }
}
