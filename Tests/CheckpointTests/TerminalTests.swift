import ProcessModel
import Testing

@testable import Checkpoint

struct TerminalTests {
    /// What `stty sane` sets, as far as bytes depend on it: ICRNL IXON, OPOST ONLCR, ISIG ICANON ECHO ECHOCTL IEXTEN.
    private static var sane: TerminalSettings {
        var settings = TerminalSettings()
        settings.input = 0o2400
        settings.output = 0o5
        settings.local = 0o101013
        settings.characters = [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0]
        return settings
    }

    private static func terminal(
        _ settings: TerminalSettings = sane, input: TerminalInput = TerminalInput(), output: String = ""
    ) -> Terminal {
        var terminal = Terminal(device: .pseudo(index: 3), name: "pts3")
        terminal.settings = settings
        terminal.isMasterOpen = true
        terminal.input = input
        terminal.output = Array(output.utf8)
        return terminal
    }

    private static func line(_ text: String) -> TerminalInput {
        let bytes = Array(text.utf8)
        return TerminalInput(bytes: bytes, lineEnds: Set(bytes.indices.filter { bytes[$0] == 10 }))
    }

    @Test func rawBytesAreWrittenAsTheyAre() {
        var raw = TerminalSettings()
        raw.characters = Self.sane.characters
        let queue = TerminalQueue(Self.terminal(raw, input: TerminalInput(bytes: [0, 3, 10, 13, 255]), output: "a\n\r\n"))
        #expect(queue.typed == [0, 3, 10, 13, 255] && queue.written == Array("a\n\r\n".utf8) && queue.concerns.isEmpty)
    }

    @Test func outputIsWrittenBeforeItsNewlinesAreTranslated() {
        let queue = TerminalQueue(Self.terminal(output: "one\r\ntwo\r\n"))
        #expect(queue.written == Array("one\ntwo\n".utf8) && queue.concerns.isEmpty)
        #expect(TerminalQueue(Self.terminal(output: "lone\n")).concerns == ["its 5 bytes of unread output are lost"])
    }

    @Test func typedInputMakesItsOwnEcho() {
        let queue = TerminalQueue(Self.terminal(input: Self.line("ls\n"), output: "$ ls\r\n"))
        #expect(queue.typed == Array("ls\n".utf8) && queue.written == Array("$ ".utf8) && queue.concerns.isEmpty)
        let shown = TerminalQueue(Self.terminal(input: Self.line("ls\n")))
        #expect(shown.typed == Array("ls\n".utf8) && shown.concerns == ["its unread input is echoed once more"])
    }

    @Test func specialCharactersAreTypedLiterally() {
        var quiet = Self.sane
        quiet.local &= ~0o10
        let queue = TerminalQueue(Self.terminal(quiet, input: TerminalInput(bytes: [97, 3, 0, 98], lineEnds: [2])))
        // ^V ^C, and ^D for the end of file that was read as a zero byte.
        #expect(queue.typed == [97, 22, 3, 4, 98] && queue.concerns.isEmpty)
        let loud = TerminalQueue(Self.terminal(input: TerminalInput(bytes: [3])))
        #expect(loud.typed.isEmpty && loud.concerns == ["its 1 bytes of unread input are lost"])
    }

    @Test func tooMuchIsNotWritten() {
        var raw = TerminalSettings()
        raw.characters = Self.sane.characters
        let queue = TerminalQueue(Self.terminal(raw, output: String(repeating: "x", count: 40_000)))
        #expect(queue.written.isEmpty && !queue.concerns.isEmpty)
    }

    /// A group whose worker has both ends, and leads the session that the terminal controls.
    private static func sample(_ terminal: Terminal) -> SyntheticGroup {
        var sample = SyntheticGroup()
        let slave = sample.addTerminal(terminal)
        var master = slave
        master.role = .master
        master.node = FileNode(path: "/dev/ptmx", type: .characterDevice(major: 5, minor: 2), mode: 0o20666, gid: 5)
        sample.group.openFiles[FileID(rawValue: 6)] = OpenFile(kind: .terminal(master), flags: 2)
        sample.group.openFiles[FileID(rawValue: 11)] = OpenFile(kind: .terminal(slave), flags: 2)
        return sample
    }

    @Test func bothEndsInTheGroupComeBackWhole() throws {
        let scratch = ScratchDirectory()
        var sample = Self.sample(Self.terminal(input: Self.line("ls\n"), output: "$ ls\r\n"))
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.images != nil && record.pseudoTerminals == [3], "\(record.reasons)")
        let images = "\(scratch.path)/groups/sample/images"
        let information = try ImageContents(parsing: contents(of: "\(images)/tty-info.img")).entries.map(\.message)
        #expect(information.map { $0.number(1) } == [7, 6])
        #expect(information.map { $0.number(8) } == [5 << 8 | 2, 136 << 8 | 3])
        let data = try ImageContents(parsing: contents(of: "\(images)/tty-data.img")).entries.map(\.message)
        #expect(data.map { $0.number(1) } == [7, 6])
        for name in ["tty-info", "tty-data", "files"] where scratch.run("command -v crit >/dev/null") == 0 {
            #expect(scratch.run("crit decode -i \(images)/\(name).img -o /dev/null") == 0, "\(name)")
        }
    }

    @Test func onlyTheLeaderOfTheSessionGetsTheTerminal() {
        var terminal = Self.terminal()
        terminal.sessionID = SyntheticGroup.keeper
        terminal.foregroundGroupID = 999
        var sample = Self.sample(terminal)
        let id = TerminalID(rawValue: 1)
        for index in sample.group.processes.indices where sample.group.processes[index].pid != SyntheticGroup.dead {
            sample.group.processes[index].sessionID = SyntheticGroup.keeper
            sample.group.processes[index].controllingTerminal = id
        }
        let assessor = TerminalAssessor(sample.group, held: [FileID(rawValue: 6), FileID(rawValue: 11)])
        let worker = sample.group.processes[0]
        let keeper = sample.group.processes[1]
        #expect(assessor.session(of: id) == SyntheticGroup.keeper && keeper.pid == SyntheticGroup.keeper)
        #expect(assessor.obstacle(of: keeper) == nil)
        #expect(assessor.obstacle(of: worker)?.severity == .degraded)
        // A foreground group without processes cannot be one again.
        #expect(assessor.foregroundGroup(of: id) == keeper.processGroupID)
        #expect(assessor.assess(FileID(rawValue: 6)).severity == .degraded)
    }
}
