/// A provider of a guest's physical memory: a domain mapped through Xen, or a dump file.
///
/// Two ways of access, for two needs: `read` copies a few bytes, for the walk over kernel objects; `withFrames` lends
/// whole frames where they are, for page contents.
public protocol FrameSource: AnyObject {
    /// One past the highest frame that may exist. Frames below it can still be missing.
    var frameLimit: FrameNumber { get }

    /// The text of the kernel's VMCOREINFO where the source has it apart from memory, as dump files do.
    ///
    /// It is a hint that saves a search: what it says is checked like everything else.
    var vmCoreInfoNote: [UInt8]? { get }

    /// What the page tables of a PV guest mean by a frame; nil for PVH and HVM guests, whose page tables have the numbers that all the rest has.
    var machineFrames: MachineFrames? { get }

    /// What was left out on purpose, where the source tells.
    var omittedPages: OmittedPages { get }

    /// Copies `buffer.count` bytes from `address`; the bytes must lie in one frame.
    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault)

    /// Lends the contents of `frames`, in their order, as pieces of one or more whole frames each.
    ///
    /// The pieces are valid until `body` returns. A missing frame throws `MemoryFault` before `body` runs.
    /// - Parameter frames: at most `FrameBatch.limit` of them.
    func withFrames<Result>(
        _ frames: ArraySlice<FrameNumber>, _ body: (_ pieces: [UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result

    /// Copies the contents of `frames`, in their order, to where they are wanted: for a source that has to copy anyway before it can lend.
    /// - Parameter frames: at most `FrameBatch.limit` of them.
    /// - Parameter buffer: of exactly their size; what is in it after an error is undefined.
    func copy(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws
}

extension FrameSource {
    public var vmCoreInfoNote: [UInt8]? { nil }

    public var machineFrames: MachineFrames? { nil }

    /// An entry of a page table as it is in this source, with the frame's number as `read` and `withFrames` take it.
    public func ownEntry(_ entry: UInt64) -> UInt64 { machineFrames?.pseudophysical(entry: entry) ?? entry }

    public var omittedPages: OmittedPages { .none }

    public func copy(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws {
        try unsafe withFrames(frames) { pieces in
            guard unsafe FrameBatch.gather(pieces, into: buffer) else {
                throw MemoryFault(.damaged("another number of bytes than was asked for"), at: .null)
            }
        }
    }
}

public enum FrameBatch {
    /// The most frames that `FrameSource.withFrames` takes at once (4 MiB), so that a source can bound what it maps.
    public static let limit = 1024

    /// Copies what a source has lent, piece behind piece.
    /// - Returns: false when it is more or less than the buffer holds, whose contents are undefined then.
    public static func gather(_ pieces: [UnsafeRawBufferPointer], into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        var done = 0
        for index in unsafe pieces.indices {
            let piece = unsafe pieces[index]
            guard piece.count <= buffer.count - done else { return false }
            // The piece fits behind what is there already.
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + piece.count]).copyMemory(from: piece)
            done += piece.count
        }
        return done == buffer.count
    }
}
