import GuestMemory

/// Whose pages are asked for.
public enum MemoryObject: Sendable, Hashable {
    /// The pages that belong to the address space itself: anonymous ones (copied on write ones included) and the vdso's. Pages of mapped files come
    /// back from the files, those of shared memory from the shared memory.
    case addressSpace(AddressSpaceID)
    /// All pages of a shared memory object; the address of a page is its offset in bytes.
    case sharedMemory(SharedMemoryID)
    /// The cached pages of a file whose name was removed, or that is in a `MemoryFilesystem`; the address of a page is its offset in bytes. A hole or a
    /// page that is not cached is left out.
    case deletedFile(device: UInt64, inode: UInt64)
}

/// Pages of 4 KiB that follow each other in the object and in the guest's physical memory.
public struct PageRun: Sendable, Hashable {
    /// Of the first page; a multiple of 4096.
    public var address: VirtualAddress
    /// Where the contents are; beyond the guest's memory for pages that were swapped out (`FrameNumber.init(_: SwapEntry)`).
    public var frame: FrameNumber
    /// At least 1.
    public var count: UInt32

    public init(address: VirtualAddress, frame: FrameNumber, count: UInt32 = 1) {
        self.address = address
        self.frame = frame
        self.count = count
    }
}

extension FrameNumber {
    /// Numbers from here on stand for slots of swap areas. No guest has as much memory: the physical addresses of x86-64 have 52 bits.
    private static let firstSwapSlot: UInt64 = 1 << 50
    private static let areaShift: UInt64 = 45

    /// A page in a swap area, which follows the page in the slot before it as frames of memory follow each other.
    ///
    /// nil for an offset beyond 2^45 pages, more than a disk has.
    public init?(_ slot: SwapEntry) {
        guard slot.offset >> Self.areaShift == 0, 0..<32 ~= slot.type else { return nil }
        self.init(Self.firstSwapSlot | UInt64(slot.type) << Self.areaShift | slot.offset)
    }

    /// The slot that the number stands for; nil for a frame of the guest's memory.
    public var swapSlot: SwapEntry? {
        guard rawValue >= Self.firstSwapSlot else { return nil }
        return SwapEntry(
            type: Int(rawValue >> Self.areaShift & 0x1f), offset: rawValue & ~(~0 << Self.areaShift))
    }
}

/// Why pages could not be had.
public struct PageSupplyError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Operation, place and cause, lower case.
    public var description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// Where the checkpoint gets page contents from. The supply lends the mapped frames; the writer copies them once, to where the disk takes them from.
public protocol PageSupply: ~Copyable {
    /// Calls `body` with the pages of an object in ascending order of their addresses, in batches of at most a few thousand pages. Stops when
    /// `body` returns false.
    /// - Throws: when the walk cannot go on; what `body` was already given stays valid. A page that is unreadable, or swapped out to where it cannot be read, is an error too,
    ///   for a process must not go on with a hole where it had data.
    mutating func forEachBatch(of object: MemoryObject, _ body: (_ runs: [PageRun]) -> Bool) throws(PageSupplyError)

    /// Maps `frames`, or reads those that were swapped out, in this order, and lends their bytes as pieces: together `frames.count` × 4096 bytes, each piece a multiple of 4096. A
    /// foreign mapping is one piece, a dump file gives one piece for each stretch of frames that lie together. The pieces are gone when `body` returns.
    mutating func lend(_ frames: [FrameNumber], _ body: (_ pieces: [UnsafeRawBufferPointer]) -> Void) throws(PageSupplyError)

    /// Copies the bytes of `frames`, in this order, to where the disk takes them from. `buffer` has exactly their size; what is in it after an error is
    /// undefined.
    mutating func copy(_ frames: [FrameNumber], into buffer: UnsafeMutableRawBufferPointer) throws(PageSupplyError)
}
