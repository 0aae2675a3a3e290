import GuestMemory
import Testing

@testable import DumpSource

@Suite struct DumpNotesTests {
    static func note(_ name: String, _ kind: UInt32, _ contents: [UInt8]) -> [UInt8] {
        let name = Array(name.utf8) + [0]
        var note = UInt32(name.count).littleEndianBytes + UInt32(contents.count).littleEndianBytes + kind.littleEndianBytes
        for part in [name, contents] { note += part.padded(to: (part.count + 3) / 4 * 4) }
        return note
    }

    static func vmCoreInfo(_ text: String) -> [UInt8] { note("VMCOREINFO", 0, Array(text.utf8)) }

    /// Registers that tell which one they are: 1000 and the index in `struct user_regs_struct`.
    static func status(task: Int32) -> [UInt8] {
        let registers = (0..<27).flatMap { UInt64(1000 + $0).littleEndianBytes }
        return note("CORE", 1, ([UInt8]().padded(to: 112) + registers).padded(to: 336).with(task, at: 32))
    }

    /// Words that tell their offset.
    static func qemu(size: Int, version: UInt32 = 1) -> [UInt8] {
        let words = stride(from: 0, to: size, by: 8).flatMap { UInt64($0).littleEndianBytes }
        return note("QEMU", 0, words.with(version, at: 0))
    }

    @Test func takesTheRegistersThatADyingKernelSaved() throws {
        let notes = DumpNotes(Self.status(task: 812) + Self.vmCoreInfo("OSRELEASE=6.1\n") + Self.status(task: 0))
        #expect(notes.vmCoreInfo == Array("OSRELEASE=6.1\n".utf8))
        #expect(notes.cpus.map(\.taskID) == [812, 0])
        let cpu = try #require(notes.cpus.first)
        #expect(cpu.general == (1000..<1015).map { UInt64($0) })
        #expect(cpu.instructionPointer == 1016 && cpu.codeSegment == 1017 && cpu.flags == 1018)
        #expect(cpu.stackPointer == 1019 && cpu.stackSegment == 1020 && cpu.fsBase == 1021 && cpu.gsBase == 1022)
        #expect(cpu.shadowGSBase == .max && cpu.fxsave.isEmpty)
    }

    @Test func takesWhatQEMUHasBesides() throws {
        // QEMU writes both; in its own there are control registers.
        let notes = DumpNotes(Self.status(task: 1) + Self.status(task: 2) + Self.qemu(size: 440) + Self.qemu(size: 432))
        #expect(notes.cpus.map(\.number) == [0, 1])
        #expect(notes.cpus.map(\.taskID) == [nil, nil])
        let cpu = try #require(notes.cpus.first)
        #expect(cpu.general == [128, 120, 112, 104, 64, 16, 96, 88, 80, 72, 8, 24, 32, 40, 48])
        #expect(cpu.instructionPointer == 136 && cpu.flags == 144 && cpu.stackPointer == 56)
        #expect(cpu.fsBase == 240 && cpu.gsBase == 264 && cpu.pageTableRoot == 416 && cpu.shadowGSBase == 432)
        #expect(notes.cpus.last?.shadowGSBase == .max)
    }

    @Test func anUnknownVersionIsNotGuessedAt() {
        #expect(DumpNotes(Self.status(task: 7) + Self.qemu(size: 440, version: 2)).cpus.map(\.taskID) == [7])
        #expect(DumpNotes(Self.qemu(size: 424)).cpus.isEmpty)
    }

    /// Wherever notes end, and whatever a length claims, what was whole is taken and the rest is left.
    @Test func damagedNotesEndTheList() {
        let whole = Self.vmCoreInfo("A=1\n") + Self.status(task: 3)
        for count in 0..<whole.count { #expect(DumpNotes(Array(whole.prefix(count))).cpus.isEmpty) }
        for offset in [0, 4] {
            let notes = DumpNotes(whole.with(UInt32.max, at: offset))
            #expect(notes.vmCoreInfo == nil && notes.cpus.isEmpty)
        }
    }
}
