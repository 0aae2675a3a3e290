import GuestMemory

/// The memory of a dead guest with a few frames replaced: what a mutation has changed.
///
/// Frames that were read stay in memory, so that the same walk can be made thousands of times at the price of one.
///
/// Safe although it owns raw memory: frames are allocated here, freed in `deinit` or when they are dropped, and never handed out.
@safe public final class OverlaidMemory: FrameSource {
    private let base: any FrameSource
    private var frames: [UInt64: UnsafeMutableRawPointer] = unsafe [:]
    private var overlay: [UInt64: [UInt8]] = [:]
    private var missing: Set<UInt64> = []
    /// The first of the frames that `withFrames` lends: page contents are not what is tested, so zeros stand for all of them.
    private let zeros: UnsafeMutableRawBufferPointer
    private var existing: Set<UInt64> = []
    /// Frames that were asked for, while it is not nil.
    private var asked: Set<UInt64>?
    /// What the dump says of its kernel; it can be changed like memory.
    public var vmCoreInfoNote: [UInt8]?

    /// Frames that are kept (512 MiB).
    private static let cacheLimit = 1 << 17

    public init(_ base: any FrameSource) {
        self.base = base
        vmCoreInfoNote = base.vmCoreInfoNote
        unsafe zeros = .allocate(byteCount: FrameBatch.limit * FrameNumber.size, alignment: FrameNumber.size)
        unsafe zeros.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit {
        unsafe frames.values.forEach { unsafe $0.deallocate() }
        unsafe zeros.deallocate()
    }

    public var frameLimit: FrameNumber { base.frameLimit }

    public var machineFrames: MachineFrames? { base.machineFrames }

    public var omittedPages: OmittedPages { base.omittedPages }

    /// Bytes that are kept of the base: no part of what a walk needs.
    public var cachedBytes: Int { unsafe frames.count * FrameNumber.size }

    // MARK: Changes

    /// Takes back all changes.
    public func restore() { overlay.removeAll(keepingCapacity: true) }

    /// Overwrites bytes, which must lie in one frame. What the base does not hold stays missing.
    public func write(_ bytes: [UInt8], at address: PhysicalAddress) {
        guard var frame = contents(of: address.frame) else { return }
        for (index, byte) in bytes.enumerated() where address.offsetInFrame + index < frame.count {
            frame[address.offsetInFrame + index] = byte
        }
        overlay[address.frame.rawValue] = frame
    }

    /// A frame as it is now, changes included; nil when the base does not hold it.
    public func contents(of frame: FrameNumber) -> [UInt8]? {
        if let changed = overlay[frame.rawValue] { return changed }
        guard let page = unsafe cached(frame) else { return nil }
        // A cached frame has this many bytes.
        return unsafe Array(UnsafeRawBufferPointer(start: page, count: FrameNumber.size))
    }

    // MARK: What is read

    /// The frames of which something was read while `body` ran.
    public func framesRead(during body: () throws -> Void) rethrows -> Set<UInt64> {
        asked = []
        defer { asked = nil }
        try body()
        return asked ?? []
    }

    private func cached(_ frame: FrameNumber) -> UnsafeMutableRawPointer? {
        if let known = unsafe frames[frame.rawValue] { return unsafe known }
        if missing.contains(frame.rawValue) { return nil }
        if unsafe frames.count >= Self.cacheLimit {
            unsafe frames.values.forEach { unsafe $0.deallocate() }
            unsafe frames.removeAll()
        }
        let page = UnsafeMutableRawPointer.allocate(byteCount: FrameNumber.size, alignment: FrameNumber.size)
        do throws(MemoryFault) {
            // The buffer is the whole page just allocated.
            unsafe try base.read(frame.address, into: UnsafeMutableRawBufferPointer(start: page, count: FrameNumber.size))
        } catch {
            unsafe page.deallocate()
            if missing.count < Self.cacheLimit { missing.insert(frame.rawValue) }
            return nil
        }
        unsafe frames[frame.rawValue] = page
        return unsafe page
    }

    public func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        let start = address.offsetInFrame
        guard buffer.count <= FrameNumber.size - start else { throw MemoryFault(.notInDump, at: address) }
        asked?.insert(address.frame.rawValue)
        if !overlay.isEmpty, let changed = overlay[address.frame.rawValue] {
            // The range lies in the frame, as was checked.
            unsafe buffer.copyBytes(from: changed[start..<start + buffer.count])
            return
        }
        guard let page = unsafe cached(address.frame) else { throw MemoryFault(.notInDump, at: address) }
        // The range lies in the frame, as was checked.
        unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(start: page + start, count: buffer.count))
    }

    /// Lends zeros for frames that exist: whose pages are saved is what matters here, and that is told by their numbers.
    public func withFrames<Result>(
        _ frames: ArraySlice<FrameNumber>, _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result {
        for frame in frames where !existing.contains(frame.rawValue) {
            guard frame < frameLimit, unsafe cached(frame) != nil else { throw MemoryFault(.notInDump, at: frame.address) }
            existing.insert(frame.rawValue)
            drop(frame)
        }
        guard frames.count <= FrameBatch.limit else { throw MemoryFault(.damaged("more frames than a batch"), at: .null) }
        // As many zeros as frames, and there are enough for a whole batch.
        return try unsafe body([UnsafeRawBufferPointer(rebasing: zeros[..<(frames.count * FrameNumber.size)])])
    }

    /// Page contents are asked for once, to see that they are there.
    private func drop(_ frame: FrameNumber) {
        if let page = unsafe frames.removeValue(forKey: frame.rawValue) { unsafe page.deallocate() }
    }
}
