import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct pipe_inode_info` and `struct pipe_buffer` (include/linux/pipe_fs_i.h).
struct PipeLayout: Sendable {
    let head: Field
    let tail: Field
    let slotLimit: Field
    let ringSize: Field
    let readers: Field
    let writers: Field
    let buffers: Field
    /// Set on a pipe of kernel notifications (CONFIG_WATCH_QUEUE).
    let watchQueue: Field?
    let bufferSize: Int
    let page: Field
    let offset: Field
    let length: Field
    let flags: Field

    init(_ types: TypeTable) throws(KernelError) {
        let pipe = try types.structure("pipe_inode_info")
        head = try pipe.field("head")
        tail = try pipe.field("tail")
        slotLimit = try pipe.field("max_usage")
        ringSize = try pipe.field("ring_size")
        readers = try pipe.field("readers")
        writers = try pipe.field("writers")
        buffers = try pipe.field("bufs")
        watchQueue = pipe.optional("watch_queue")
        let buffer = try types.structure("pipe_buffer")
        bufferSize = buffer.size
        page = try buffer.field("page")
        offset = try buffer.field("offset")
        length = try buffer.field("len")
        flags = try buffer.field("flags")
    }
}

extension FileReader {
    /// The pipe behind `inode`, its bytes read when it is first met.
    mutating func pipe(ofInode inode: VirtualAddress, info: VirtualAddress) throws(MemoryFault) -> PipeID {
        if let known = pipeIDs[info] { return known }
        var pipe = try kernel.pipe(at: info, layout.pipe, frames: frames)
        pipe.inode = try kernel.value(layout.inode.number, of: inode)
        let id = PipeID(rawValue: UInt32(truncatingIfNeeded: pipeIDs.count &+ 1))
        pipeIDs[info] = id
        pipes[id] = pipe
        return id
    }

}

extension KernelReader {
    /// The most slots believed: `fs.pipe-max-size` is 1 MiB for users and root may ask for up to 2 GiB; 64 MiB is believed.
    private static let slotLimit: UInt64 = 1 << 14
    private static let byteLimit = 64 << 20
    /// PIPE_BUF_FLAG_PACKET.
    private static let packetFlag: UInt64 = 0x08

    /// A pipe with the bytes in it, without the number of its inode.
    func pipe(at info: VirtualAddress, _ fields: PipeLayout, frames: FrameTable) throws(MemoryFault) -> Pipe {
        let size = try value(fields.ringSize, of: info)
        let limit = try value(fields.slotLimit, of: info)
        guard size > 0, size <= Self.slotLimit, size & (size - 1) == 0, limit > 0, limit <= size else {
            throw MemoryFault(.damaged("pipe with \(size) slots, \(limit) of them usable"), at: info)
        }
        if let watchQueue = fields.watchQueue, try !pointer(watchQueue, of: info).isNull {
            throw MemoryFault(.damaged("pipe of kernel notifications, which is not supported"), at: info)
        }
        let head = try uint32(fields.head, of: info)
        let tail = try uint32(fields.tail, of: info)
        // Head and tail run on and wrap (pipe_occupancy).
        guard UInt64(head &- tail) <= size else {
            throw MemoryFault(.damaged("pipe with \(head &- tail) of \(size) slots in use"), at: info)
        }
        let buffers = try pointer(fields.buffers, of: info)
        var bytes: [UInt8] = []
        var pieces: [Pipe.Piece] = []
        var slot = tail
        while slot != head {
            let buffer = buffers + Int(UInt64(slot) & (size - 1)) * fields.bufferSize
            let count = Int(try uint32(fields.length, of: buffer))
            bytes += try self.bytes(
                ofPage: pointer(fields.page, of: buffer), offset: Int(uint32(fields.offset, of: buffer)), count: count,
                frames: frames)
            guard bytes.count <= Self.byteLimit else {
                throw MemoryFault(.damaged("pipe of more than \(Self.byteLimit) bytes"), at: info)
            }
            let isPacket = try value(fields.flags, of: buffer) & Self.packetFlag != 0
            if !isPacket, let last = pieces.last, !last.isPacket {
                pieces[pieces.count - 1].byteCount += count
            } else {
                pieces.append(Pipe.Piece(byteCount: count, isPacket: isPacket))
            }
            slot = slot &+ 1
        }
        return Pipe(
            inode: 0, queuedBytes: bytes, capacityBytes: UInt32(limit) * UInt32(FrameNumber.size),
            pieces: pieces.contains(where: \.isPacket) ? pieces : [], readers: try uint32(fields.readers, of: info),
            writers: try uint32(fields.writers, of: info))
    }
}
