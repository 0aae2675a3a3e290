import Glibc

/// Writes to xenstore through the kernel's device, in the protocol of Xen's `public/io/xs_wire.h`.
///
/// A relative path is below the domain's own /local/domain/N; `data` there is the guest's to write.
enum XenStore {
    /// Values longer than this go into several nodes; a message holds 4096 bytes at most (XENSTORE_PAYLOAD_MAX).
    static let chunkBytes = 2000

    /// Publishes the report: in `data/xenpr/report`, or, when it is longer than a chunk, in `data/xenpr/report/0` and so on,
    /// after which `data/xenpr/report` says how many there are ("chunks 3"). Does nothing when this is no Xen guest.
    static func publish(_ report: String) {
        guard let device = Descriptor(taking: openDevice()) else { return }
        let bytes = Array(report.utf8)
        do throws(AgentError) {
            guard bytes.count > chunkBytes else { return try write("data/xenpr/report", bytes, to: device) }
            var count = 0
            for start in stride(from: 0, to: bytes.count, by: chunkBytes) {
                let chunk = Array(bytes[start..<min(start + chunkBytes, bytes.count)])
                try write("data/xenpr/report/\(count)", chunk, to: device)
                count += 1
            }
            try write("data/xenpr/report", Array("chunks \(count)".utf8), to: device)
        } catch {
            printError("warning: \(error)")
        }
    }

    /// Says that the agent works: the control domain waits for the report as long as this changes.
    static func show(progress: String) {
        guard let device = Descriptor(taking: openDevice()) else { return }
        _ = try? write("data/xenpr/progress", Array(progress.utf8), to: device)
    }

    private static func openDevice() -> Int32 {
        let device = System.open("/dev/xen/xenbus", O_RDWR)
        return device >= 0 ? device : System.open("/proc/xen/xenbus", O_RDWR)
    }

    /// XS_WRITE: a header of four 32-bit words (type, request, transaction, length), the path, a null byte, the value.
    private static func write(_ path: String, _ value: [UInt8], to device: borrowing Descriptor) throws(AgentError) {
        let payload = Array(path.utf8) + [0] + value
        let writeNode: UInt32 = 11
        try device.write(words([writeNode, 1, 0, UInt32(payload.count)]) + payload, to: "xenstore")
        // The reply has the same form; the kernel gives it as one stream of bytes.
        var reply: [UInt8] = []
        while reply.count < 16 || reply.count < 16 + Int(word(reply, at: 12)) {
            var part = [UInt8](repeating: 0, count: 4096)
            let got = System.read(device.number, into: &part)
            guard got > 0, reply.count < 8192 else { throw systemError("cannot write \(path) to xenstore") }
            reply += part[..<got]
        }
        guard word(reply, at: 0) == writeNode else {
            let text = String(decoding: reply[16...].prefix { $0 != 0 }, as: UTF8.self)
            throw AgentError(description: "cannot write \(path) to xenstore: \(text)")
        }
    }

    private static func words(_ values: [UInt32]) -> [UInt8] {
        values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    }

    private static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
    }
}
