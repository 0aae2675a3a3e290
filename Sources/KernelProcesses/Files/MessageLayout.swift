import GuestMemory
import KernelObjects
import KernelTypes

/// `struct msg_msg` (include/linux/msg.h), of which queues of both kinds are made.
struct MessageLayout: Sendable {
    let link, type, size, next: Field
    let header, pieceHeader: Int

    init(_ types: TypeTable) throws(KernelError) {
        let message = try types.structure("msg_msg")
        link = try message.field("m_list")
        type = try message.field("m_type")
        size = try message.field("m_ts")
        next = try message.field("next")
        header = message.size
        // `struct msg_msgseg` is one pointer.
        pieceHeader = 8
    }
}

extension KernelReader {
    /// The most bytes of one message that are believed: `msg_ctlmax` is an unsigned int, but a queue's pages are kernel memory.
    private static let messageLimit: UInt64 = 1 << 26
    private static let pageSize = 4096

    /// The text of a message, which is paid for before it is read: the first page holds the header and text, each following one a `struct msg_msgseg` and text (ipc/msgutil.c).
    func text(
        ofMessage message: VirtualAddress, _ layout: MessageLayout, budget: inout IPCBudget
    ) throws(MemoryFault) -> [UInt8] {
        let size = try value(layout.size, of: message)
        guard size <= Self.messageLimit, layout.header < Self.pageSize else {
            throw MemoryFault(.damaged("message of \(size) bytes"), at: message)
        }
        // A message without text takes memory as well.
        try budget.spend(Int(size) + layout.header, at: message)
        var rest = Int(size)
        var piece = message
        var header = layout.header
        var next = try pointer(layout.next, of: message)
        var bytes: [UInt8] = []
        while true {
            let count = min(rest, Self.pageSize - header)
            bytes += try memory.bytes(at: piece + header, count: count)
            rest -= count
            if rest == 0 { return bytes }
            guard !next.isNull else { throw MemoryFault(.damaged("message that ends early"), at: message) }
            piece = next
            header = layout.pieceHeader
            next = try memory.pointer(at: piece)
        }
    }
}
