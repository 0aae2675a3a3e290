import GuestMemory
import KernelObjects
import ProcessModel

extension DeadKernel {
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
