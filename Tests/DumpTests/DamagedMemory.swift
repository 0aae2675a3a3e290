import DumpSource
import GuestMemory

/// A dump of a real dead kernel, with damage that a test did to it.
///
/// Safe although it passes raw memory on: it lends only what the dump lends, for as long.
@safe final class DamagedMemory: FrameSource {
    private let dump: DumpFile
    private var damage: [UInt64: UInt8] = [:]
    private var damagedFrames: Set<UInt64> = []

    init(_ dump: DumpFile) { self.dump = dump }

    var frameLimit: FrameNumber { dump.frameLimit }

    var vmCoreInfoNote: [UInt8]? { dump.vmCoreInfoNote }

    var omittedPages: OmittedPages { dump.omittedPages }

    /// Overwrites eight bytes.
    func write(_ word: UInt64, at address: PhysicalAddress) {
        for index in 0..<8 {
            let at = address.rawValue &+ UInt64(index)
            damage[at] = UInt8(truncatingIfNeeded: word >> UInt64(index * 8))
            damagedFrames.insert(at >> 12)
        }
    }

    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        unsafe try dump.read(address, into: buffer)
        guard damagedFrames.contains(address.frame.rawValue) else { return }
        for index in buffer.indices {
            // The index comes from the buffer itself.
            if let byte = damage[address.rawValue &+ UInt64(index)] { unsafe buffer[index] = byte }
        }
    }

    func withFrames<Result>(
        _ frames: ArraySlice<FrameNumber>, _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result {
        unsafe try dump.withFrames(frames, body)
    }
}
