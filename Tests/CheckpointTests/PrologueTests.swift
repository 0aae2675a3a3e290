import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

/// What threads do before they go on.
@Suite struct PrologueTests {
    private static let address = VirtualAddress(0x10_0000)
    private static let flag = VirtualAddress(0x20_0000)

    private var registers: GeneralRegisters {
        var registers = GeneralRegisters()
        registers.ip = 0x1122_3344_5566
        (registers.ax, registers.cx, registers.dx, registers.si, registers.di) = (1, 2, 3, 4, 5)
        (registers.r8, registers.r9, registers.r10, registers.r11) = (6, 7, 8, 9)
        return registers
    }

    private func movabs(_ prefix: UInt8, _ code: UInt8, _ value: UInt64) -> [UInt8] {
        [prefix, code] + value.littleEndianBytes
    }

    @Test func aCallIsMadeAndEveryRegisterPutBack() {
        let prologue = Prologue(steps: [.call(number: 135, arguments: [0x40000])])
        let code = PrologueCode.make(prologue, at: Self.address, flag: Self.flag, then: registers)
        let expected: [[UInt8]] = [
            movabs(0x48, 0xbf, 0x40000), movabs(0x48, 0xb8, 135), [0x0f, 0x05], movabs(0x48, 0xb8, 1), movabs(0x48, 0xb9, 2),
            movabs(0x48, 0xba, 3), movabs(0x48, 0xbe, 4), movabs(0x48, 0xbf, 5), movabs(0x49, 0xb8, 6), movabs(0x49, 0xb9, 7),
            movabs(0x49, 0xba, 8), movabs(0x49, 0xbb, 9), [0xff, 0x25, 0, 0, 0, 0], UInt64(0x1122_3344_5566).littleEndianBytes,
        ]
        #expect(code.bytes == expected.flatMap(\.self))
        #expect(code.start == 0)
    }

    @Test func anEventLiesBeforeTheCode() {
        let target = EpollTarget(descriptor: 7, file: nil, events: 1, data: 0x1122)
        let prologue = Prologue(steps: [.watch(target, instance: 9)])
        let code = PrologueCode.make(prologue, at: Self.address, flag: Self.flag, then: registers)
        #expect(code.start == 12)
        #expect(Array(code.bytes.prefix(12)) == [1, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0])
        // The fourth argument leads to it.
        #expect(code.bytes.dropFirst(12 + 30).starts(with: movabs(0x49, 0xba, Self.address.rawValue)))
    }

    @Test func aSignalDoesNotEndTheWait() {
        let code = PrologueCode.make(Prologue(steps: [.await]), at: Self.address, flag: Self.flag, then: registers)
        let call =
            movabs(0x48, 0xbf, Self.flag.rawValue) + movabs(0x48, 0xbe, 128) + movabs(0x48, 0xba, 0) + movabs(0x49, 0xba, 0)
            + movabs(0x48, 0xb8, 202) + [0x0f, 0x05]
        // mov (%rdi), %ecx; jrcxz to the call
        #expect(code.bytes.starts(with: call + [0x8b, 0x0f, 0xe3, UInt8(truncatingIfNeeded: -(call.count + 4))]))
    }

    @Test func theMaskLiesBeforeTheCode() {
        let prologue = Prologue(steps: [.signalMask(0x1122)])
        let code = PrologueCode.make(prologue, at: Self.address, flag: Self.flag, then: registers)
        #expect(code.start == 8)
        #expect(Array(code.bytes.prefix(8)) == UInt64(0x1122).littleEndianBytes)
        #expect(code.bytes.dropFirst(8 + 10).starts(with: movabs(0x48, 0xbe, Self.address.rawValue)))
    }

    @Test func theThreadBeginsThere() {
        var stub = RestartStub(address: Self.address)
        var registers = registers
        stub.begin(Prologue(steps: [.tell]), flag: Self.flag, registers: &registers)
        #expect(registers.ip == Self.address.rawValue && registers.origAX == .max)
        #expect(stub.bytes.count % 64 == 0)
        #expect(UInt64(stub.bytes.count) <= RestartStub.byteCount(calls: 0, [Prologue(steps: [.tell])]))
    }

    @Test func theLeaderOpensWhatTheOthersWaitFor() throws {
        var sample = SyntheticGroup()
        sample.group.openFiles[FileID(rawValue: 11)]?.kind = .pidfd(process: SyntheticGroup.keeper)
        sample.group.openFiles[FileID(rawValue: 7)]?.kind = .epoll([
            EpollTarget(descriptor: 11, file: FileID(rawValue: 11), events: 1, data: 42)
        ])
        let worker = try #require(sample.group.processes.first { $0.pid == SyntheticGroup.worker })
        let prologues = Prologues(worker, in: sample.group)
        #expect(prologues.concerns.isEmpty)
        let target = EpollTarget(descriptor: 11, file: FileID(rawValue: 11), events: 1, data: 42)
        #expect(
            prologues.ofThreads.map { $0?.steps } == [
                [
                    .pidfd(process: SyntheticGroup.keeper, flags: 0, descriptor: 11, closesOnExec: false),
                    .watch(target, instance: 7), .tell, .signalMask(worker.threads[0].signalMask),
                ],
                [.await, .signalMask(worker.threads[1].signalMask)],
            ])
        let scratch = ScratchDirectory()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record.processes.map(\.reasons))")
        // Until then no handler runs.
        for thread in worker.threads {
            let core = try #require(
                ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/core-\(thread.tid).img")).entries
                    .first)
            #expect(try core.message.message(5)?.number(6) == .max)
        }
        // Its descriptor leads to /dev/null until then.
        let images = "\(scratch.path)/groups/sample/images"
        let descriptors = try ImageContents(parsing: contents(of: "\(images)/fdinfo-2.img"))
        let files = try ImageContents(parsing: contents(of: "\(images)/files.img"))
        let descriptor = try #require(descriptors.entries.first { $0.message.number(4) == 11 }).message
        let file = try #require(files.entries.first { $0.message.number(2) == descriptor.number(1) }).message
        #expect(try file.message(3)?.data(6) == Array("/dev/null".utf8))
    }

    @Test func aLimitOfDescriptorsIsInTheWay() throws {
        var sample = SyntheticGroup()
        sample.group.openFiles[FileID(rawValue: 11)]?.kind = .pidfd(process: SyntheticGroup.keeper)
        let index = try #require(sample.group.processes.firstIndex { $0.pid == SyntheticGroup.worker })
        sample.group.processes[index].resourceLimits[7].current = 11
        #expect(GroupCheckpoint.assess(sample.group).verdict == .refused)
        sample.group.processes[index].resourceLimits[7].current = 1024
        #expect(GroupCheckpoint.assess(sample.group).verdict == .full)
        sample.group.processes[index].state = .stopped(signal: 19)
        #expect(GroupCheckpoint.assess(sample.group).verdict == .degraded, "whom it is for may be gone when it continues")
    }

    @Test func settingsOfMemoryAndProcessorAreSetAgain() throws {
        var sample = SyntheticGroup()
        let index = try #require(sample.group.processes.firstIndex { $0.pid == SyntheticGroup.worker })
        let space = try #require(sample.group.processes[index].addressSpace)
        sample.group.addressSpaces[space]?.refusesExecutableGain = true
        sample.group.addressSpaces[space]?.locksFutureMappings = true
        sample.group.addressSpaces[space]?.locksFutureMappingsOnFault = true
        sample.group.processes[index].threads[1].speculation = [.storeBypassDisabled, .indirectBranchForceDisabled]
        let prologues = Prologues(sample.group.processes[index], in: sample.group)
        let threads = sample.group.processes[index].threads
        #expect(
            prologues.ofThreads.map { $0?.steps } == [
                [
                    .call(number: 151, arguments: [6]), .call(number: 157, arguments: [65, 1, 0, 0, 0]),
                    .signalMask(threads[0].signalMask),
                ],
                [
                    .call(number: 157, arguments: [53, 0, 4, 0, 0]), .call(number: 157, arguments: [53, 1, 8, 0, 0]),
                    .signalMask(threads[1].signalMask),
                ],
            ])
        sample.group.processes[index].resourceLimits[8].current = 0
        sample.group.processes[index].threads[0].credentials.effective = 0
        #expect(GroupCheckpoint.assess(sample.group).verdict == .degraded, "it may not lock memory any more")
        sample.group.processes[index].threads[1].dispatchesCalls = true
        #expect(GroupCheckpoint.assess(sample.group).verdict == .refused)
    }

    /// Its other process would go on with what stands for the descriptor.
    @Test func aTableThatIsSharedIsRefused() {
        var sample = SyntheticGroup()
        sample.group.openFiles[FileID(rawValue: 11)]?.kind = .pidfd(process: SyntheticGroup.keeper)
        #expect(GroupCheckpoint.assess(sample.group).verdict == .full)
        sample.group.processes[1].descriptorTable = sample.group.processes[0].descriptorTable
        #expect(GroupCheckpoint.assess(sample.group).verdict == .refused)
    }

    @Test func aThreadInARestartableSequenceIsLeftAlone() throws {
        var sample = SyntheticGroup()
        sample.group.processes[0].personality = 0x40000
        #expect(GroupCheckpoint.assess(sample.group).verdict == .full)
        sample.group.processes[0].threads[0].rseq = RseqRegistration(
            address: VirtualAddress(0x7000), size: 32, signature: 1, criticalSection: VirtualAddress(0x8000))
        sample.group.processes[0].threads[0].registers.origAX = .max
        #expect(GroupCheckpoint.assess(sample.group).verdict == .degraded)
    }

    @Test(arguments: [(39, 0, true), (157, 38, true), (157, 22, false), (101, 0, false)] as [(UInt64, UInt64, Bool)])
    func aFilterIsAskedFirst(_ call: (number: UInt64, argument: UInt64, isAllowed: Bool)) {
        var thread = SyntheticGroup().thread(1)
        // prctl only with PR_SET_NO_NEW_PRIVS, getpid, nothing else.
        let program: [FilterInstruction] = [
            FilterInstruction(code: 0x20, operand: 4), FilterInstruction(code: 0x15, jumpIfTrue: 1, operand: 0xc000_003e),
            FilterInstruction(code: 0x06, operand: 0), FilterInstruction(code: 0x20, operand: 0),
            FilterInstruction(code: 0x15, jumpIfTrue: 3, operand: 39),
            FilterInstruction(code: 0x15, jumpIfFalse: 3, operand: 157), FilterInstruction(code: 0x20, operand: 16),
            FilterInstruction(code: 0x15, jumpIfFalse: 1, operand: 38), FilterInstruction(code: 0x06, operand: 0x7fff_0000),
            FilterInstruction(code: 0x06, operand: 0x0005_0001),
        ]
        thread.seccomp = .filters([SeccompFilter(number: 1, program: program)])
        #expect(SeccompFilterRun.allows(call.number, [call.argument], ip: 0, for: thread) == call.isAllowed)
    }

    @Test func aDamagedFilterAllowsNothing() {
        for program in [
            [FilterInstruction(code: 0x05, operand: .max)], [FilterInstruction(code: 0x20, operand: 400)],
            [FilterInstruction(code: 0xffff)], [],
        ] {
            #expect(SeccompFilterRun.run(program, data: Array(repeating: 0, count: 16)) == nil)
        }
    }
}
