import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// A read, write, send or receive between a program's memory and a descriptor.
struct TransferCall {
    enum Memory {
        /// A buffer in si, its length in dx.
        case buffer
        /// An array of `struct iovec` in si, its length in dx.
        case vector
        /// A `struct user_msghdr` in si.
        case message
    }

    let isWrite: Bool
    let memory: Memory

    /// - Returns: nil for another call. Those for several messages are not among them.
    init?(number: UInt64) {
        switch number {
        // read, pread64, recvfrom
        case 0, 17, 45: (isWrite, memory) = (false, .buffer)
        // write, pwrite64, sendto
        case 1, 18, 44: (isWrite, memory) = (true, .buffer)
        // readv, preadv, preadv2
        case 19, 295, 327: (isWrite, memory) = (false, .vector)
        // writev, pwritev, pwritev2
        case 20, 296, 328: (isWrite, memory) = (true, .vector)
        case 46: (isWrite, memory) = (true, .message)
        case 47: (isWrite, memory) = (false, .message)
        default: return nil
        }
    }
}

extension DeadKernel {
    /// MAX_RW_COUNT (include/linux/fs.h): no call moves more.
    private static let transferLimit: UInt64 = 0x7fff_f000
    /// UIO_MAXIOV.
    private static let segmentLimit: UInt64 = 1024
    /// O_APPEND.
    private static let appends: UInt64 = 0o2000
    /// SOCK_STREAM.
    private static let streamType: UInt64 = 1

    /// How many bytes the call that a thread is in has moved for good: made again from the start, it would move them a second time.
    ///
    /// - Returns: 0 also where the whole call does the same a second time; nil when it is not known.
    func transferredBytes(of task: TaskAddress, registers: GeneralRegisters, stage: InterruptedCall.Stage) throws(MemoryFault)
        -> UInt64?
    {
        guard let call = TransferCall(number: registers.origAX), let fields = layout.transfers,
            let file = try file(ofDescriptor: registers.di, of: task)
        else { return nil }
        let files = layout.files
        let inode = try reader.pointer(files.file.inode, of: file)
        let isSettled = stage == .asleep || stage == .woken
        switch try reader.uint32(files.inode.mode, of: inode) & 0o170000 {
        case 0o100000:
            // The position is advanced only when the call is over.
            guard call.isWrite, try reader.value(files.file.flags, of: file) & Self.appends != 0 else { return 0 }
            guard isSettled, let moved = try moved(by: call, of: task, registers, evenAll: true) else { return nil }
            return moved == 0 ? 0 : try appended(to: inode, of: file, moved: moved, task)
        case 0o010000:
            if isSettled { return try moved(by: call, of: task, registers) }
            let pipe = try reader.pointer(files.file.privateData, of: file)
            return try movedThrough(pipe, by: call, of: task, registers, fields)
        case 0o140000:
            guard isSettled else { return nil }
            let type = try reader.value(files.sockets.type, of: reader.pointer(files.file.privateData, of: file))
            // A message goes as a whole, or has not gone.
            // What goes through read and write is counted in a copy (sock_read_iter, sock_write_iter).
            let isCopied = [0, 1, 19, 20, 295, 296, 327, 328].contains(registers.origAX)
            return type == Self.streamType ? try moved(by: call, of: task, registers, isCopied: isCopied) : 0
        default: return nil
        }
    }

    /// The file behind a descriptor, nil when there is none.
    func file(ofDescriptor number: UInt64, of task: TaskAddress) throws(MemoryFault) -> VirtualAddress? {
        let fields = layout.files.table
        let files = try reader.pointer(layout.task.files, of: task)
        guard !files.isNull else { return nil }
        let table = try reader.pointer(fields.current, of: files)
        let number = number & 0xffff_ffff
        guard number < UInt64(try reader.uint32(fields.limit, of: table)) else { return nil }
        let file = try reader.memory.pointer(at: reader.pointer(fields.files, of: table) + Int(number) * 8)
        return file.isNull ? nil : file
    }

    /// What a call's iterator says that it has moved.
    ///
    /// An iterator is recognised by what the program asked for: the same direction, and the end of what is left is the end of the program's
    /// buffer. On the way to a socket it was copied, and the copy counts on; the first one stays as it was (net/socket.c, sock_write_iter).
    /// Of several the call's own is the outermost, for it is made first; those within may be what earlier calls have left between the words of a frame.
    /// - Parameters:
    ///   - evenAll: a call that has moved everything may still be at work. Where it cannot be, an iterator with nothing left is of an
    ///     earlier call.
    ///   - isCopied: it is the next one that counts.
    /// - Returns: nil when there is none, or several of which nobody knows which is the call's.
    func moved(
        by call: TransferCall, of task: TaskAddress, _ registers: GeneralRegisters, evenAll: Bool = false,
        isCopied: Bool = false
    ) throws(MemoryFault) -> UInt64? {
        guard let fields = layout.transfers, let stack = try liveStack(of: task) else { return nil }
        let asked = try askedFor(by: call, of: task, registers)
        let total = asked.reduce(0) { $0 &+ $1.length }
        guard total > 0, total <= Self.transferLimit else { return nil }
        /// The outermost last.
        var found: [UInt64] = []
        for at in stride(from: 0, through: stack.bytes.count - fields.iteratorSize, by: 8) {
            let iterator = stack.start + at
            let type = try reader.value(fields.type, of: iterator)
            let isWrite = try fields.isSource.map { field throws(MemoryFault) in try reader.value(field, of: iterator) == 1 }
            guard isWrite ?? (type & 1 == 1) == call.isWrite else { continue }
            let left = try reader.value(fields.count, of: iterator)
            guard left <= total, left > 0 || evenAll else { continue }
            let isIts =
                try left > 0
                ? remaining(in: iterator, fields) == Self.end(of: asked, count: left)
                : lastByte(of: iterator, fields) == asked.last.map { $0.start &+ $0.length }
            if isIts { found.append(total - left) }
        }
        guard stack.isExact else { return Set(found).count == 1 ? found.first : nil }
        return isCopied && found.count > 1 ? found[found.count - 2] : found.last
    }

    /// A part of a program's memory.
    private struct Segment: Equatable {
        var start: UInt64
        var length: UInt64
    }

    /// The parts of memory that a program named, without empty ones; none when they cannot be read.
    private func askedFor(by call: TransferCall, of task: TaskAddress, _ registers: GeneralRegisters) throws(MemoryFault)
        -> [Segment]
    {
        switch call.memory {
        case .buffer: return [Segment(start: registers.si, length: min(registers.dx, Self.transferLimit))]
        case .vector: return try vector(at: registers.si, count: registers.dx, of: task)
        case .message:
            // msg_iov and msg_iovlen (include/linux/socket.h).
            guard let start = try userWord(at: VirtualAddress(registers.si &+ 16), of: task),
                let count = try userWord(at: VirtualAddress(registers.si &+ 24), of: task)
            else { return [] }
            return try vector(at: start, count: count, of: task)
        }
    }

    private func vector(at address: UInt64, count: UInt64, of task: TaskAddress) throws(MemoryFault) -> [Segment] {
        var result: [Segment] = []
        for index in 0..<min(count, Self.segmentLimit) {
            let entry = VirtualAddress(address &+ index &* 16)
            guard let start = try userWord(at: entry, of: task), let length = try userWord(at: entry + 8, of: task) else {
                return []
            }
            if length > 0 { result.append(Segment(start: start, length: length)) }
        }
        return result
    }

    /// The last `count` bytes of some parts.
    private static func end(of segments: [Segment], count: UInt64) -> [Segment] {
        var left = count
        var result: [Segment] = []
        for segment in segments.reversed() where left > 0 {
            let length = min(left, segment.length)
            result.insert(Segment(start: segment.start &+ segment.length &- length, length: length), at: 0)
            left -= length
        }
        return result
    }

    /// What is left in an iterator over user memory, without empty parts; nil when it is none.
    private func remaining(in iterator: VirtualAddress, _ fields: TransferLayout) throws(MemoryFault) -> [Segment]? {
        let type = try reader.value(fields.type, of: iterator)
        var left = try reader.value(fields.count, of: iterator)
        var offset = try reader.value(fields.offset, of: iterator)
        if type == fields.bufferType, let buffer = fields.buffer {
            let start = try reader.value(buffer, of: iterator)
            return [Segment(start: start &+ offset, length: left)]
        }
        guard isVector(type, fields) else { return nil }
        let count = try reader.value(fields.segments, of: iterator)
        let vector = try reader.pointer(fields.vector, of: iterator)
        guard count > 0, count <= Self.segmentLimit, vector.isKernel else { return nil }
        var result: [Segment] = []
        for index in 0..<Int(count) where left > 0 {
            // What looks like an iterator and is none leads anywhere.
            guard let start = try? reader.memory.integer(at: vector + index * 16, as: UInt64.self),
                let size = try? reader.memory.integer(at: vector + index * 16 + 8, as: UInt64.self), offset <= size
            else { return nil }
            let length = min(size - offset, left)
            if length > 0 { result.append(Segment(start: start &+ offset, length: length)) }
            left -= length
            offset = 0
        }
        return left == 0 ? result : nil
    }

    private func isVector(_ type: UInt64, _ fields: TransferLayout) -> Bool {
        (fields.isSource == nil ? type & ~1 : type) == fields.vectorType
    }

    /// The end of what an iterator that has nothing left went over; its vector's pointer has gone past the last entry.
    private func lastByte(of iterator: VirtualAddress, _ fields: TransferLayout) throws(MemoryFault) -> UInt64? {
        let type = try reader.value(fields.type, of: iterator)
        if type == fields.bufferType, let buffer = fields.buffer {
            return try reader.value(buffer, of: iterator) &+ reader.value(fields.offset, of: iterator)
        }
        let vector = try reader.pointer(fields.vector, of: iterator)
        guard isVector(type, fields), vector.isKernel,
            let start = try? reader.memory.integer(at: vector - 16, as: UInt64.self),
            let length = try? reader.memory.integer(at: vector - 8, as: UInt64.self)
        else { return nil }
        return start &+ length
    }

    /// How many bytes a write has put at the end of a file: the file's size counts them, from where the call's `kiocb` says that it began.
    ///
    /// That position is moved on when all is written, and the call may wait for the disk then (generic_write_sync, include/linux/fs.h).
    private func appended(
        to inode: VirtualAddress, of file: VirtualAddress, moved: UInt64, _ task: TaskAddress
    ) throws(MemoryFault) -> UInt64? {
        guard let fields = layout.transfers, let stack = try liveStack(of: task) else { return nil }
        let size = try reader.value(layout.files.inode.size, of: inode)
        var found: Set<UInt64> = []
        for at in stride(from: 0, to: stack.bytes.count - 64, by: 8) {
            let request = stack.start + at
            guard try reader.pointer(fields.requestFile, of: request) == file else { continue }
            let start = try reader.value(fields.requestPosition, of: request)
            if start == size { found.insert(moved) } else if start < size, size - start <= moved { found.insert(size - start) }
        }
        return found.count == 1 ? found.first : nil
    }
}
