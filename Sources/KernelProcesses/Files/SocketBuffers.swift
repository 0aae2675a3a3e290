import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    /// The most bytes believed of one queue; a socket's buffer is bounded by `net.core.wmem_max`, some 200 KB unless raised.
    static let queueLimit = 64 << 20
    static let socketBufferLimit = 1 << 16

    /// The buffers on a `struct sk_buff_head`, oldest first.
    func buffers(onQueue queue: VirtualAddress) throws(MemoryFault) -> [VirtualAddress] {
        // A queue and its buffers begin with the same two pointers as a list_head.
        var buffers: [VirtualAddress] = []
        let link = layout.sockets.buffer.next
        if let fault = kernel.forEach(onList: queue, link: link, limit: Self.socketBufferLimit, { buffers.append($0) }) {
            throw fault
        }
        return buffers
    }

    /// What a reader has not yet taken of each buffer in a unix socket's queue.
    mutating func messages(onQueue queue: VirtualAddress, type: UInt32) throws(MemoryFault) -> [UnixSocket.Message] {
        let fields = layout.sockets.unix
        let isStream = type == Self.streamType
        var messages: [UnixSocket.Message] = []
        var total = 0
        for buffer in try buffers(onQueue: queue) {
            let bytes = try contents(ofBuffer: buffer, depth: 0)
            total += bytes.count
            guard total <= Self.queueLimit else {
                throw MemoryFault(.damaged("queue of more than \(Self.queueLimit) bytes"), at: queue)
            }
            let consumed = isStream ? Int(try kernel.uint32(fields.consumed, of: buffer)) : 0
            guard consumed <= bytes.count else {
                throw MemoryFault(.damaged("\(consumed) of \(bytes.count) bytes consumed"), at: buffer)
            }
            let files = try passedFiles(ofBuffer: buffer)
            if isStream, consumed == bytes.count, files.isEmpty { continue }
            var message = UnixSocket.Message(bytes: Array(bytes.dropFirst(consumed)), files: files)
            message.carriesCredentials = try !kernel.pointer(fields.senderPID, of: buffer).isNull
            if type == Self.datagramType {
                // A buffer counts against its sender's memory (skb_set_owner_w), which lives as long as it.
                let sender = try kernel.pointer(layout.sockets.buffer.socket, of: buffer)
                if !sender.isNull { message.sender = try boundName(of: sender) }
            }
            messages.append(message)
        }
        return messages
    }

    /// The files that travel with a buffer (`struct scm_fp_list`). They are read when all descriptors are known.
    private mutating func passedFiles(ofBuffer buffer: VirtualAddress) throws(MemoryFault) -> [FileID] {
        let fields = layout.sockets.unix
        let list = try kernel.pointer(fields.passedFiles, of: buffer)
        guard !list.isNull else { return [] }
        let count = Int(try kernel.value(fields.passedCount, of: list))
        // SCM_MAX_FD elements.
        guard count <= fields.passedList.count else { throw MemoryFault(.damaged("message with \(count) files"), at: list) }
        var files: [FileID] = []
        for index in 0..<count {
            files.append(fileInFlight(at: try kernel.pointer(fields.passedList.element(index), of: list)))
        }
        return files
    }

    /// All bytes of a buffer: its linear part, its page fragments, and the buffers on its fragment list (skb_copy_bits).
    func contents(ofBuffer buffer: VirtualAddress, depth: Int) throws(MemoryFault) -> [UInt8] {
        let fields = layout.sockets.buffer
        let length = Int(try kernel.uint32(fields.length, of: buffer))
        let paged = Int(try kernel.uint32(fields.pagedLength, of: buffer))
        guard depth < 2, length <= Self.queueLimit, paged <= length else {
            throw MemoryFault(.damaged("socket buffer of \(length) bytes, \(paged) of them in pages"), at: buffer)
        }
        var bytes = try kernel.memory.bytes(at: kernel.pointer(fields.data, of: buffer), count: length - paged)
        // `end` is an offset from `head` on 64-bit kernels (NET_SKBUFF_DATA_USES_OFFSET); the shared info begins there.
        let shared = try kernel.pointer(fields.head, of: buffer) + Int(kernel.uint32(fields.end, of: buffer))
        let count = Int(try kernel.value(fields.fragmentCount, of: shared))
        guard count <= fields.fragments.count else {
            throw MemoryFault(.damaged("socket buffer with \(count) fragments"), at: shared)
        }
        for index in 0..<count {
            let fragment = shared + fields.fragments.offset + index * fields.fragmentSize
            bytes += try kernel.bytes(
                ofPage: kernel.pointer(fields.fragmentPage, of: fragment),
                offset: Int(kernel.uint32(fields.fragmentOffset, of: fragment)),
                count: Int(kernel.uint32(fields.fragmentLength, of: fragment)), frames: frames)
        }
        var next = try kernel.pointer(fields.fragmentList, of: shared)
        var pieces = 0
        while !next.isNull, bytes.count < length {
            pieces += 1
            guard pieces <= Self.socketBufferLimit else {
                throw MemoryFault(.damaged("fragment list without an end"), at: shared)
            }
            let piece = try contents(ofBuffer: next, depth: depth + 1)
            guard !piece.isEmpty else { throw MemoryFault(.damaged("empty socket buffer on a fragment list"), at: next) }
            bytes += piece
            next = try kernel.pointer(fields.next, of: next)
        }
        guard bytes.count == length else {
            throw MemoryFault(.damaged("socket buffer with \(bytes.count) of \(length) bytes"), at: buffer)
        }
        return bytes
    }
}
