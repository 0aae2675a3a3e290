import GuestMemory
import KernelObjects
import ProcessModel

/// Which pages of a file's cache are wanted.
enum CachedPageChoice {
    /// Those that the disk does not have yet: dirty, or being written.
    case changed
    /// Those, and all others from this index on.
    case changedOrFrom(UInt64)
    case all
}

extension FilesystemWalk {
    /// Pages believed of one file: 64 TiB.
    private static let indexLimit: UInt64 = 1 << 34

    /// Whether some page of the file may be dirty or under writeback. The marks of an xarray are the only bits of its flags above the lowest
    /// byte (XA_FLAGS_MARK, include/linux/xarray.h).
    func mayHaveChangedPages(_ mapping: VirtualAddress) throws(MemoryFault) -> Bool {
        try kernel.value(layout.xarray.flags, of: mapping + layout.pages.pages.offset) >> 8 != 0
    }

    /// The cached pages of a file in ascending order, as far as they hold valid data.
    /// - Throws: also for a page that the disk does not have and of which a part only is valid, as on filesystems with blocks smaller than a page
    ///   (`__block_commit_write`, fs/buffer.c). A page of tmpfs that is not valid was only reserved.
    func pages(
        ofMapping mapping: VirtualAddress, isInMemory: Bool, _ choice: CachedPageChoice, frames: FrameTable
    ) throws(MemoryFault) -> [PageRun] {
        var runs: [PageRun] = []
        let array = mapping + layout.pages.pages.offset
        let fault = try kernel.forEach(inXArray: array, layout: layout.xarray, limit: 1 << 26) { (entry) throws(MemoryFault) in
            // Shadows of evicted pages are values; what they stood for is on the disk.
            if entry.isValue { return }
            let flags = try kernel.value(layout.pages.pageFlags, of: entry.pointer)
            // A lone entry in the array's head carries no marks of its own.
            let isMarked = entry.marks != 0xff && entry.marks & 3 != 0
            let isChanged =
                isMarked || flags >> layout.catchUp.dirtyBit & 1 == 1 || flags >> layout.catchUp.writebackBit & 1 == 1
            guard flags >> layout.pages.upToDateBit & 1 == 1 else {
                guard isInMemory || !isChanged else {
                    throw MemoryFault(.damaged("page \(entry.index), valid in part only"), at: entry.pointer)
                }
                return
            }
            switch choice {
            case .changed: if !isChanged { return }
            case .changedOrFrom(let first): if !isChanged, entry.index < first { return }
            case .all: break
            }
            let count = UInt32(1) << UInt32(try kernel.order(ofFolio: entry.pointer, layout: layout.pages))
            guard entry.index < Self.indexLimit else {
                throw MemoryFault(.damaged("page \(entry.index) of a file"), at: entry.pointer)
            }
            let frame = try frames.frame(of: entry.pointer)
            if entry.isOneOfSeveral(folioPages: UInt64(count)) {
                let page = FrameNumber(frame.rawValue &+ entry.index & UInt64(count - 1))
                append(address: entry.index << 12, frame: page, count: 1, to: &runs)
            } else {
                append(address: entry.index << 12, frame: frame, count: count, to: &runs)
            }
        }
        if let fault { throw fault }
        return runs
    }

    private func append(address: UInt64, frame: FrameNumber, count: UInt32, to runs: inout [PageRun]) {
        if let last = runs.last, last.address.rawValue &+ UInt64(last.count) << 12 == address,
            last.frame.rawValue &+ UInt64(last.count) == frame.rawValue, last.count < 1 << 30
        {
            runs[runs.count - 1].count += count
        } else {
            runs.append(PageRun(address: VirtualAddress(address), frame: frame, count: count))
        }
    }
}
