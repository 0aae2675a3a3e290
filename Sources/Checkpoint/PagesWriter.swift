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
    mutating func append<Supply: PageSupply & ~Copyable>(
        _ bytes: [UInt8], at address: VirtualAddress, from supply: inout Supply
    ) throws(CheckpointError) {
        try note(address.rawValue, UInt64(bytes.count) / Self.pageSize)
        try pages.append(bytes, from: &supply)
    }

    /// Appends the pages of a run; they are read from the supply now or with a later call.
    mutating func append<Supply: PageSupply & ~Copyable>(_ run: PageRun, from supply: inout Supply) throws(CheckpointError) {
        try note(run.address.rawValue, UInt64(run.count))
        try pages.append(run, from: &supply)
    }

    consuming func finish<Supply: PageSupply & ~Copyable>(from supply: inout Supply) throws(CheckpointError) -> Totals {
        try closeRun()
        try pages.finish(from: &supply)
        totals.bytes = pages.byteCount
        totals.bytes &+= try map.finish()
        return totals
    }
}
