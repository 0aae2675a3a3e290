import GuestMemory
import KernelObjects
import KernelTypes

/// The kernel's log: `struct printk_ringbuffer` (kernel/printk/printk_ringbuffer.h), behind the pointer `prb`.
struct LogLayout: Sendable {
    let data: Field
    let sizeBits: Field
    let countBits: Field
    let descriptors: Field
    let infos: Field
    let descriptorSize: Int
    let textBegin: Field
    let infoSize: Int
    let textLength: Field

    init(_ types: TypeTable) throws(KernelError) {
        let buffer = try types.structure("printk_ringbuffer")
        data = try buffer.field("text_data_ring.data")
        sizeBits = try buffer.field("text_data_ring.size_bits")
        countBits = try buffer.field("desc_ring.count_bits")
        descriptors = try buffer.field("desc_ring.descs")
        infos = try buffer.field("desc_ring.infos")
        let descriptor = try types.structure("prb_desc")
        descriptorSize = descriptor.size
        textBegin = try descriptor.field("text_blk_lpos.begin")
        let info = try types.structure("printk_info")
        infoSize = info.size
        textLength = try info.field("text_len")
    }
}

extension DeadKernel {
    /// The last panic that the kernel's log tells of, without its prefix; nil when it has none or cannot be read.
    public func panicMessage() -> String? {
        guard let pointer = try? reader.variable("prb") else { return nil }
        return try? panicMessage(inLog: VirtualAddress(pointer))
    }

    private func panicMessage(inLog buffer: VirtualAddress) throws(MemoryFault) -> String? {
        let fields = layout.log
        let sizeBits = try reader.value(fields.sizeBits, of: buffer)
        let countBits = try reader.value(fields.countBits, of: buffer)
        // CONFIG_LOG_BUF_SHIFT is at most 25.
        guard (12...25).contains(sizeBits), countBits <= 20 else { throw MemoryFault(.damaged("size of the log"), at: buffer) }
        let text = try reader.memory.bytes(at: reader.pointer(fields.data, of: buffer), count: 1 << sizeBits)
        let descriptors = try reader.pointer(fields.descriptors, of: buffer)
        let infos = try reader.pointer(fields.infos, of: buffer)
        let prefix = Array("Kernel panic - not syncing: ".utf8)
        var latest: (position: UInt64, message: String)?
        for index in 0..<Int(1 << countBits) {
            let begin = try reader.value(fields.textBegin, of: descriptors + index * fields.descriptorSize)
            let length = Int(try reader.value(fields.textLength, of: infos + index * fields.infoSize))
            // A block starts with the number of its descriptor; odd positions mean that there is no text.
            let start = Int(begin & ((1 << sizeBits) - 1)) + 8
            guard begin & 1 == 0, length >= prefix.count, start + length <= text.count, begin >= latest?.position ?? 0 else {
                continue
            }
            let line = text[start..<start + length]
            guard line.starts(with: prefix) else { continue }
            latest = (begin, String(decoding: line.dropFirst(prefix.count), as: UTF8.self))
        }
        return latest?.message
    }
}
