import GuestMemory
import ProcessModel

/// Writes the pages of one memory object: `pagemap-N.img` and `pages-N.img`.
struct PagesWriter: ~Copyable {
    /// What was written.
    struct Totals: Sendable {
        var pages: UInt64 = 0
        var bytes: UInt64 = 0
    }

    private var map: ImageWriter
    private var pages: PagesFile
    private var totals = Totals()
    /// A run not yet in the map, for neighbours to join.
    private var open: (address: UInt64, count: UInt64)?

    private static let pageSize: UInt64 = 4096
    /// PE_PRESENT of criu/include/pagemap.h.
    private static let present: UInt32 = 4

    init(mapName: String, pagesNumber: UInt32, in directory: OutputDirectory) throws(CheckpointError) {
        let pages = try PagesFile(creating: "pages-\(pagesNumber).img", in: directory)
        var map = try ImageWriter(.pageMap, name: mapName, in: directory)
        try map.append(ProtobufMessage { $0.unsigned(1, pagesNumber) })
        self.map = map
        self.pages = pages
    }

    /// Notes `count` pages from `address` in the map. Addresses must ascend.
    private mutating func note(_ address: UInt64, _ count: UInt64) throws(CheckpointError) {
        totals.pages &+= count
        if let run = open, run.address &+ run.count &* Self.pageSize == address, run.count + count <= UInt64(UInt32.max) {
            open = (run.address, run.count + count)
            return
        }
        try closeRun()
        open = (address, count)
    }

    private mutating func closeRun() throws(CheckpointError) {
        guard let run = open else { return }
        open = nil
        try map.append(
            ProtobufMessage { entry in
                entry.unsigned(1, run.address)
                entry.unsigned(2, run.count)
                entry.unsigned(4, Self.present)
            })
    }

    /// Appends pages whose bytes are ours: `bytes` is a multiple of the page size.
    mutating func append(_ bytes: [UInt8], at address: VirtualAddress) throws(CheckpointError) {
        try note(address.rawValue, UInt64(bytes.count) / Self.pageSize)
        var failure: CheckpointError?
        // The pointer is used only while the closure runs.
        unsafe bytes.withUnsafeBytes { bytes in
            do throws(CheckpointError) { try unsafe pages.append(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Appends the pages of `runs`, lent by the supply.
    mutating func append<Supply: PageSupply & ~Copyable>(_ runs: [PageRun], from supply: inout Supply) throws(CheckpointError) {
        var frames: [FrameNumber] = []
        for run in runs {
            try note(run.address.rawValue, UInt64(run.count))
            for index in 0..<UInt64(run.count) {
                frames.append(FrameNumber(rawValue: run.frame.rawValue &+ index))
                if frames.count == FrameBatch.limit {
                    try append(frames, from: &supply)
                    frames.removeAll(keepingCapacity: true)
                }
            }
        }
        if !frames.isEmpty { try append(frames, from: &supply) }
    }

    private mutating func append<Supply: PageSupply & ~Copyable>(
        _ frames: [FrameNumber], from supply: inout Supply
    ) throws(CheckpointError) {
        let expected = frames.count * FrameNumber.size
        var failure: CheckpointError?
        do throws(PageSupplyError) {
            // The pieces are read only while the supply lends them.
            try unsafe supply.lend(frames) { pieces in
                do throws(CheckpointError) {
                    guard unsafe pieces.reduce(0, { $0 + $1.count }) == expected else {
                        throw .pages("the memory source lent another number of bytes than was asked for")
                    }
                    for index in unsafe pieces.indices { try unsafe pages.append(pieces[index]) }
                } catch {
                    failure = error
                }
            }
        } catch {
            throw .pages(error.description)
        }
        if let failure { throw failure }
    }

    consuming func finish() throws(CheckpointError) -> Totals {
        try closeRun()
        try pages.finish()
        totals.bytes = pages.byteCount
        totals.bytes &+= try map.finish()
        return totals
    }
}
