import GuestMemory
import KernelObjects
import KernelTypes

/// The kernel's log: `struct printk_ringbuffer` (kernel/printk/printk_ringbuffer.h), behind the pointer `prb`.
struct LogLayout: Sendable {
    let data: Field
    let sizeBits: Field

    init(_ types: TypeTable) throws(KernelError) {
        let buffer = try types.structure("printk_ringbuffer")
        data = try buffer.field("text_data_ring.data")
        sizeBits = try buffer.field("text_data_ring.size_bits")
    }
}

extension DeadKernel {
    /// The last panic that the kernel's log tells of, without its prefix; nil when it has none or cannot be read.
    ///
    /// Records lie in the ring as they came; the text is searched for, for the descriptors around it may be what was damaged.
    public func panicMessage() -> String? {
        let prefix = Array("Kernel panic - not syncing: ".utf8)
        guard let buffer = try? reader.variable("prb"),
            let bits = try? reader.value(layout.log.sizeBits, of: VirtualAddress(buffer)),
            (12...24).contains(bits), let data = try? reader.pointer(layout.log.data, of: VirtualAddress(buffer)),
            let text = try? reader.memory.bytes(at: data, count: 1 << bits)
        else { return nil }
        var found: Int?
        for start in text.indices.dropLast(prefix.count)
        where text[start] == prefix[0] && text[start..<start + prefix.count].elementsEqual(prefix) {
            found = start
        }
        guard let found else { return nil }
        // A record ends where the next one's descriptor number begins; text is printable.
        let message = text[(found + prefix.count)...].prefix(200).prefix { $0 >= 0x20 && $0 < 0x7f }
        return String(decoding: message, as: UTF8.self)
    }
}
