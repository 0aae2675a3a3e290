import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

/// Processes at their end, whose parents have not been told.
@Suite struct ExitingTaskTests {
    let kernel: SyntheticKernel
    let parent: TaskAddress
    let leader: TaskAddress

    init() throws {
        kernel = try SyntheticKernel()
        parent = kernel.addTask(pid: 200, parent: kernel.task)
        leader = kernel.addTask(pid: 300, parent: parent)
        kernel.set(kernel.layout.task.exitSignal, of: leader, to: 17)
        for task in [parent, leader] { kernel.set(kernel.layout.task.mm, of: task, to: 0xffff_8880_0000_1000) }
    }

    private func end(_ task: TaskAddress) {
        kernel.set(kernel.layout.task.flags, of: task, to: 4)
        kernel.set(kernel.layout.task.mm, of: task, to: 0)
    }

    @Test func aTaskIsAtItsEndOnceItsMemoryIsGivenUp() throws {
        #expect(try !kernel.dead.isEnding(leader))
        kernel.set(kernel.layout.task.flags, of: leader, to: 4)
        #expect(try !kernel.dead.isEnding(leader), "its memory is still there")
        end(leader)
        #expect(try kernel.dead.isEnding(leader))
        kernel.set(kernel.layout.task.flags, of: leader, to: 0x20_0000)
        #expect(try !kernel.dead.isEnding(leader), "a thread of the kernel has none either")
    }

    @Test func aParentAtItsEndHandsItsChildrenOn() throws {
        let dead = kernel.dead
        #expect(try dead.livingParent(of: leader) == parent)
        end(parent)
        #expect(try kernel.dead.livingParent(of: leader) == kernel.task, "the first process")
        let middle = kernel.addTask(pid: 150, parent: kernel.task)
        kernel.set(kernel.layout.task.realParent, of: parent, to: middle.rawValue)
        #expect(try kernel.dead.livingParent(of: leader) == kernel.task, "an ancestor that takes none")
        let signal = try kernel.dead.reader.pointer(kernel.layout.task.signal, of: middle)
        kernel.set(kernel.layout.signal.isChildSubreaper, of: signal, to: 1)
        #expect(try kernel.dead.livingParent(of: leader) == middle)
        end(middle)
        #expect(try kernel.dead.livingParent(of: leader) == kernel.task)
    }

    @Test func ancestorsThatRunInACircleEnd() throws {
        let other = kernel.addTask(pid: 201, parent: parent)
        kernel.set(kernel.layout.task.realParent, of: parent, to: other.rawValue)
        end(parent)
        end(other)
        #expect(throws: MemoryFault.self) { try kernel.dead.livingParent(of: leader) }
    }

    private func words(_ exitCode: Int32) throws -> [Int32]? {
        let end = try kernel.dead.unannouncedEnd(of: leader, exitCode: exitCode)
        guard let end else { return nil }
        #expect(end.parentPID == 200 && end.signal.signal == 17 && end.signal.info.count == 128)
        return (0..<7).map { index in
            Int32(truncatingIfNeeded: end.signal.info[index * 4..<index * 4 + 4].reversed().reduce(0) { $0 << 8 | UInt64($1) })
        }
    }

    @Test func theParentLearnsOfTheEndAndItsReason() throws {
        let credentials = try kernel.dead.reader.pointer(kernel.layout.task.credentials, of: leader)
        kernel.set(kernel.layout.credentials.uid, of: credentials, to: 1000)
        // si_signo, si_errno, si_code, padding, si_pid, si_uid, si_status
        #expect(try words(7 << 8) == [17, 0, 1, 0, 300, 1000, 7])
        #expect(try words(9) == [17, 0, 2, 0, 300, 1000, 9])
        #expect(try words(0x8b) == [17, 0, 3, 0, 300, 1000, 11])
    }

    @Test func whoHasBeenToldIsNotToldAgain() throws {
        kernel.set(kernel.layout.task.exitState, of: leader, to: 0x20)
        #expect(try words(0) == nil)
        kernel.set(kernel.layout.task.exitState, of: leader, to: 0)
        #expect(try words(0) != nil)
        for number in [UInt64(0), 0xffff_ffff] {
            kernel.set(kernel.layout.task.exitSignal, of: leader, to: number)
            #expect(try words(0) == nil)
        }
    }
}
