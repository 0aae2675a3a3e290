import GuestMemory
import KernelObjects
import ProcessModel

extension DeadKernel {
    /// Those of pipes without a name have had their own functions since Linux 6.14.
    private static let pipeReads = ["pipe_read", "anon_pipe_read", "fifo_pipe_read"]
    private static let pipeWrites = ["pipe_write", "anon_pipe_write", "fifo_pipe_write"]
    static let pipeFunctions = Set(pipeReads + pipeWrites)

    /// What a call that was interrupted in the middle of the kernel's work has moved into or out of a pipe.
    ///
    /// Bytes are copied, then the iterator is advanced, and then the pipe counts them (pipe_read and pipe_write, fs/pipe.c); all of it under the pipe's lock. So who
    /// holds the lock has the call's own iterator on its stack, and only whether the pipe has counted yet has to be found out: by what the bytes are, at
    /// the end that the call works at. Nobody else can have changed the pipe since.
    /// - Returns: nil when it is not known.
    func movedThrough(
        _ pipe: VirtualAddress, by call: TransferCall, of task: TaskAddress, _ registers: GeneralRegisters,
        _ fields: TransferLayout
    ) throws(MemoryFault) -> UInt64? {
        // The lowest three bits are flags (kernel/locking/mutex.c).
        let holdsLock = try reader.value(fields.pipeLockOwner, of: pipe) & ~7 == task.rawValue
        guard let moved = try moved(by: call, of: task, registers, evenAll: true) else { return nil }
        if moved == 0 { return 0 }
        // In such a function the iterator is this call's, and without the lock the pipe has counted: the call updates the file's times, or waits for more.
        if !holdsLock, let chain = try callChain(of: task),
            isInside(chain.instructions, functions: call.isWrite ? Self.pipeWrites : Self.pipeReads)
        {
            return moved
        }
        guard case .buffer = call.memory, moved <= registers.dx,
            let counted = try? reader.pipe(
                at: pipe, layout.files.pipe, frames: FrameTable(kernel: reader, layout: layout.files.pages))
        else { return nil }
        let isAll = moved == registers.dx
        let page = UInt64(FrameNumber.size)
        if call.isWrite {
            let length = Int(min(moved, page))
            let last = VirtualAddress(registers.si &+ moved &- UInt64(length))
            guard let written = try userBytes(at: last, count: length, of: task) else { return nil }
            if counted.queuedBytes.suffix(length).elementsEqual(written) { return moved }
            // A write of no more than a page goes as a whole. Without the lock somebody may have read it already, or the iterator is of an earlier call.
            return holdsLock && isAll && moved <= page ? 0 : nil
        }
        // A read that the pipe had nothing more for ends early, which a call for the rest would not do.
        guard holdsLock, isAll, moved <= page,
            let taken = try userBytes(at: VirtualAddress(registers.si), count: Int(moved), of: task)
        else { return nil }
        let waiting = counted.queuedBytes
        let isCounted = !(1...taken.count).contains {
            waiting.count >= $0 && waiting.prefix($0).elementsEqual(taken.suffix($0))
        }
        return isCounted ? moved : nil
    }
}
