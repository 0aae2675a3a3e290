import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct RestartTests {
    private func thread(_ number: UInt64, ax: Int64 = -38, _ change: (inout DeadThread) -> Void = { _ in }) -> DeadThread {
        var registers = GeneralRegisters()
        registers.origAX = number
        registers.ax = UInt64(bitPattern: ax)
        registers.ip = 0x1002
        registers.sp = 0x7000
        var thread = DeadThread(tid: 1, command: "t", registers: registers)
        change(&thread)
        return thread
    }

    private func restartedAX(_ thread: DeadThread) -> Int64 { Int64(bitPattern: RestartedThread(thread).registers.ax) }

    @Test func userModeIsLeftAlone() {
        let thread = thread(.max, ax: -38)
        #expect(RestartedThread(thread).registers == thread.registers)
    }

    @Test func finishedCallKeepsItsResult() {
        let result = RestartedThread(thread(0, ax: 17))
        #expect(result.registers.ax == 17 && result.registers.ip == 0x1002)
    }

    @Test(arguments: [UInt64(0), 61, 202, 34, 130, 288]) func waitingCallsAreMadeAgain(number: UInt64) {
        let result = RestartedThread(thread(number))
        #expect(result.registers.ax == number && result.registers.ip == 0x1000 && result.resumedCall == nil)
    }

    @Test(arguments: [Int64(-512), -513, -514]) func stoppedTaskRestarts(code: Int64) {
        let result = RestartedThread(thread(9, ax: code))
        #expect(result.registers.ax == 9 && result.registers.ip == 0x1000)
    }

    /// A handler that runs first ends the call, as it would have in the kernel.
    @Test func aHandlerEndsWhatItEndsInTheKernel() {
        let restarting = SignalAction(handler: 0x4000, flags: 0x1000_0000)
        let ending = SignalAction(handler: 0x4000)
        func result(_ number: UInt64, _ ax: Int64, _ handler: SignalAction?) -> Int64 {
            Int64(bitPattern: RestartedThread(thread(number, ax: ax), handler: handler).registers.ax)
        }
        // pause and poll, stopped: whatever the handler's flags are.
        #expect(result(34, -514, restarting) == -4 && result(7, -516, restarting) == -4)
        // read, stopped or still in the call.
        #expect(result(0, -512, ending) == -4 && result(0, -38, ending) == -4)
        #expect(result(0, -512, restarting) == 0 && result(0, -38, restarting) == 0 && result(0, -513, ending) == 0)
        // nanosleep in its call.
        #expect(result(35, -38, restarting) == -4 && result(35, -38, nil) != -4)
        // getpid does not wait.
        #expect(result(39, -38, ending) == 39)
    }

    @Test func messagesThatSomebodyHasTakenAreNotTakenTwice() {
        let asleep = thread(243) { $0.interruptedCall.stage = .asleep }
        #expect(RestartedThread(asleep).registers.ax == 243)
        let woken = RestartedThread(thread(243) { $0.interruptedCall.stage = .woken })
        #expect(Int64(bitPattern: woken.registers.ax) == -4 && woken.concern != nil)
    }

    @Test func othersReturnAsAfterAnInterruption() {
        // ptrace
        let other = RestartedThread(thread(101))
        #expect(Int64(bitPattern: other.registers.ax) == -4 && other.registers.ip == 0x1002 && other.concern != nil)
    }

    @Test func callsThatDoSomethingOnceGoOnFromWhereTheyWere() {
        func resumed(_ number: UInt64, _ progress: InterruptedCall.Progress, _ change: (inout DeadThread) -> Void = { _ in })
            -> RestartedThread
        {
            RestartedThread(
                thread(number) {
                    $0.interruptedCall.progress = progress
                    change(&$0)
                })
        }
        // unlink
        let pending = resumed(87, .pending)
        #expect(pending.registers.ax == 87 && pending.registers.ip == 0x1000 && pending.concern == nil)
        let done = resumed(87, .complete(result: 0))
        #expect(done.registers.ax == 0 && done.registers.ip == 0x1002 && done.concern == nil)
        let uncertain = resumed(83, .uncertain)
        #expect(uncertain.registers.ax == 83 && uncertain.registers.ip == 0x1000 && uncertain.concern != nil)
        // openat and open, whose flags are in dx and si
        #expect(
            resumed(257, .fileCreated) { $0.registers.dx = 0o302 }.resumedCall
                == ResumedCall(number: 257, change: .flags(0o102, .dx)))
        #expect(
            resumed(2, .fileCreated) { $0.registers.si = 0o302 }.resumedCall
                == ResumedCall(number: 2, change: .flags(0o102, .si)))
        // fork that has a child already, and clone that is to note its number
        #expect(resumed(57, .complete(result: 77)).registers.ax == 77)
        let clone = resumed(56, .complete(result: 77)) {
            $0.registers.di = 0x10_0011
            $0.registers.dx = 0x5000
        }
        #expect(clone.patches == [MemoryPatch(address: VirtualAddress(0x5000), bytes: [77, 0, 0, 0])])
        #expect(Int64(bitPattern: resumed(57, .uncertain).registers.ax) == -4)
    }

    private func resumed(
        _ number: UInt64, _ progress: InterruptedCall.Progress?, ax: Int64 = -38,
        _ change: (inout DeadThread) -> Void = { _ in }
    ) -> RestartedThread {
        RestartedThread(
            thread(number, ax: ax) {
                $0.interruptedCall.progress = progress
                change(&$0)
            })
    }

    /// close, unlink, rename, linkat, mkdir
    @Test(arguments: [UInt64(3), 87, 82, 265, 83]) func namesAndDescriptorsAreChangedOnce(number: UInt64) {
        let again = resumed(number, .pending)
        #expect(again.registers.ax == number && again.registers.ip == 0x1000 && again.registers.origAX == .max)
        #expect(again.concern == nil && again.patches == [] && again.resumedCall == nil)
        let done = resumed(number, .complete(result: 0))
        #expect(done.registers.ax == 0 && done.registers.ip == 0x1002 && done.registers.origAX == .max)
        #expect(done.concern == nil && done.patches == [] && done.resumedCall == nil)
        let unknown = resumed(number, .uncertain)
        #expect(unknown.registers.ax == number && unknown.registers.ip == 0x1000)
        #expect(unknown.concern?.contains("made again") == true)
        // A signal ended it, and its result says so.
        let ended = resumed(number, .complete(result: 0), ax: -513)
        #expect(ended.registers.ax == number && ended.registers.ip == 0x1000)
        #expect(resumed(number, .complete(result: 0), ax: -2).registers.ax == UInt64(bitPattern: -2))
    }

    /// clone, fork, vfork, clone3
    @Test(arguments: [UInt64(56), 57, 58, 435]) func aProcessIsStartedOnce(number: UInt64) {
        let again = resumed(number, .pending)
        #expect(again.registers.ax == number && again.registers.ip == 0x1000 && again.concern == nil)
        let done = resumed(number, .complete(result: 77)) { $0.registers.dx = 0x5000 }
        #expect(done.registers.ax == 77 && done.registers.ip == 0x1002 && done.patches == [])
        #expect((done.concern != nil) == (number == 435))
        let unknown = resumed(number, .uncertain)
        #expect(unknown.registers.ax == UInt64(bitPattern: -4) && unknown.registers.ip == 0x1002)
        #expect(unknown.concern?.contains("started a process") == true)
    }

    @Test func onlyCloneNotesANumberForItsCaller() {
        func patches(_ number: UInt64, flags: UInt64) -> [MemoryPatch] {
            resumed(number, .complete(result: 0x0102_0304)) {
                $0.registers.di = flags
                $0.registers.dx = 0x5000
            }.patches
        }
        #expect(patches(56, flags: 0x10_0000) == [MemoryPatch(address: VirtualAddress(0x5000), bytes: [4, 3, 2, 1])])
        #expect(patches(56, flags: 0x20_0000) == [])
        #expect(patches(58, flags: 0x10_0000) == [])
    }

    /// What it has moved is in both places, and the process is refused for it (`CallsAtWorkTests`).
    @Test func aMappingThatWasBeingMovedIsMovedAgain() {
        let again = resumed(25, nil)
        #expect(again.registers.ax == 25 && again.registers.ip == 0x1000 && again.concern == nil)
    }

    @Test func aThreadThatHasNeverRunFindsItsNumber() {
        let child = RestartedThread(
            thread(56, ax: 0) { $0.unwrittenThreadID = UnwrittenThreadID(address: VirtualAddress(0x6000), number: 300) })
        #expect(
            child.registers.ax == 0 && child.patches == [MemoryPatch(address: VirtualAddress(0x6000), bytes: [44, 1, 0, 0])])
    }

    @Test func stubForAnOpenPutsItsFlagsBack() {
        var registers = GeneralRegisters()
        registers.ip = 0x1122_3344_5566
        registers.si = 0o302
        var stub = RestartStub(address: VirtualAddress(0x10_0000))
        stub.resume(ResumedCall(number: 2, change: .flags(0o102, .si)), registers: &registers)
        #expect(registers.si == 0o102 && registers.ax == 2 && registers.ip == 0x10_0000)
        #expect(Array(stub.bytes.prefix(12)) == [0x0f, 0x05, 0x48, 0xbe, 0xc2, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test func theCallThatCausedThePanicFails() {
        #expect(restartedAX(thread(1) { $0.interruptedCall.causedPanic = true }) == -5)
    }

    @Test func aTransferGoesOnWithItsRest() {
        func resumed(_ number: UInt64, moved: UInt64?, of length: UInt64 = 100_000) -> RestartedThread {
            RestartedThread(
                thread(number) {
                    $0.interruptedCall.transferredBytes = moved
                    $0.registers.dx = length
                })
        }
        #expect(resumed(1, moved: 4096).resumedCall == ResumedCall(number: 1, change: .rest(moved: 4096)))
        #expect(resumed(1, moved: 4096).concern == nil)
        let whole = resumed(1, moved: 100_000)
        #expect(whole.registers.ax == 100_000 && whole.registers.ip == 0x1002 && whole.resumedCall == nil)
        let vector = resumed(20, moved: 4096, of: 2)
        #expect(vector.registers.ax == 4096 && vector.concern != nil)
        for moved in [0, nil] as [UInt64?] {
            let again = resumed(1, moved: moved)
            #expect(again.registers.ip == 0x1000 && again.registers.ax == 1 && again.resumedCall == nil)
        }
    }

    @Test func stubForTheRestPutsBothRegistersBack() {
        var registers = GeneralRegisters()
        registers.ip = 0x1122_3344_5566
        registers.si = 0x70_0000
        registers.dx = 0x2_0000
        var stub = RestartStub(address: VirtualAddress(0x10_0000))
        stub.resume(ResumedCall(number: 1, change: .rest(moved: 0x1_2345)), registers: &registers)
        #expect(registers.si == 0x71_2345 && registers.dx == 0xdcbb && registers.ax == 1 && registers.ip == 0x10_0000)
        let expected: [UInt8] = [
            0x0f, 0x05, 0x48, 0x85, 0xc0, 0x78, 0x08, 0x48, 0x05, 0x45, 0x23, 0x01, 0, 0xeb, 0x05, 0xb8, 0x45, 0x23, 0x01, 0,
            0x48, 0xbe, 0, 0, 0x70, 0, 0, 0, 0, 0, 0x48, 0xba, 0, 0, 0x02, 0, 0, 0, 0, 0, 0xff, 0x25, 0, 0, 0, 0, 0x66,
            0x55, 0x44, 0x33, 0x22, 0x11, 0, 0,
        ]
        #expect(Array(stub.bytes.prefix(expected.count)) == expected)
        #expect(stub.bytes.count == 64)
    }

    @Test func relativeSleepsGoOnWithWhatRemained() {
        let remaining: UInt64 = 2_500_000_001
        func resumed(_ number: UInt64, ax: Int64 = -38, _ change: (inout DeadThread) -> Void = { _ in }) -> ResumedCall? {
            RestartedThread(
                thread(number, ax: ax) {
                    $0.interruptedCall.remainingNanoseconds = remaining
                    change(&$0)
                }
            ).resumedCall
        }
        #expect(resumed(35) == ResumedCall(number: 35, change: .timespec(nanoseconds: remaining, .di)))
        #expect(resumed(230) == ResumedCall(number: 230, change: .timespec(nanoseconds: remaining, .dx)))
        #expect(resumed(230) { $0.registers.si = 1 } == nil)
        #expect(resumed(7) { $0.registers.dx = 5000 } == ResumedCall(number: 7, change: .milliseconds(2501, .dx)))
        #expect(resumed(7) { $0.registers.dx = 0xffff_ffff } == nil)
        #expect(
            resumed(202) {
                $0.registers.si = 128; $0.registers.r10 = 1
            }?.change == .timespec(nanoseconds: remaining, .r10))
        #expect(
            resumed(202) {
                $0.registers.si = 137; $0.registers.r10 = 1
            } == nil)
        #expect(resumed(232) { $0.registers.r10 = 100 }?.change == .milliseconds(2501, .r10))
        #expect(resumed(35, ax: -516)?.number == 35)
        #expect(
            resumed(219, ax: -516) {
                $0.interruptedCall.restartFunction = .nanosleep(remainderAddress: VirtualAddress(5)); $0.registers.r10 = 5
            }?
            .number == 230)
        #expect(
            resumed(219) {
                $0.interruptedCall.restartFunction = .poll; $0.registers.dx = 1
            }?.number == 7)
    }

    @Test func selectGetsItsTimeWrittenBack() {
        let result = RestartedThread(
            thread(23) {
                $0.registers.r8 = 0x5000
                $0.interruptedCall.remainingNanoseconds = 1_000_002_000
            })
        #expect(
            result.patches == [
                MemoryPatch(address: VirtualAddress(0x5000), bytes: [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
            ])
        #expect(result.registers.ip == 0x1000)
    }

    @Test func stubPutsTheRegisterBack() {
        var registers = GeneralRegisters()
        registers.ip = 0x1122_3344_5566
        registers.di = 0xaabb
        var stub = RestartStub(address: VirtualAddress(0x10_0000))
        stub.resume(ResumedCall(number: 35, change: .timespec(nanoseconds: 1_000_000_007, .di)), registers: &registers)
        #expect(registers.ip == 0x10_0000 && registers.di == 0x10_0020 && registers.ax == 35)
        let expected: [UInt8] =
            [
                0x0f, 0x05, 0x48, 0xbf, 0xbb, 0xaa, 0, 0, 0, 0, 0, 0, 0xff, 0x25, 0, 0, 0, 0, 0x66, 0x55, 0x44, 0x33, 0x22,
                0x11, 0, 0,
            ]
            + [0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]
        #expect(Array(stub.bytes.prefix(expected.count)) == expected)
        #expect(stub.bytes.count == 64 && stub.pages.count == 4096)
    }

    @Test func stubFindsAGapAwayFromTheStack() {
        func mapping(_ start: UInt64, _ end: UInt64, growsDown: Bool = false) -> Mapping {
            Mapping(
                start: VirtualAddress(start), end: VirtualAddress(end), offsetBytes: 0, protection: 3, kind: .anonymous,
                growsDown: growsDown)
        }
        let above = [mapping(0x1000, 0x2000), mapping(0x7ffd_0000_0000, 0x7ffd_0002_0000, growsDown: true)]
        #expect(RestartStub.place(among: above, byteCount: 4096) == VirtualAddress(0x7ffd_0012_0000))
        let tight = [mapping(0x1000, 0x7fff_f000_0000), mapping(0x7fff_f000_0000, 0x7fff_ffff_f000)]
        #expect(RestartStub.place(among: tight, byteCount: 4096) == nil)
    }
}
