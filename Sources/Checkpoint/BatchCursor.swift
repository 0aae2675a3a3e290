import GuestMemory
import ProcessModel

/// Walks a memory object's pages in portions, so that between two portions the supply is free to lend the pages themselves, and the list of
/// runs stays bounded whatever the object's size.
struct BatchCursor {
    private let object: MemoryObject
    private let runLimit: Int
    private var resumeAddress: UInt64 = 0
    private var isDone = false

    /// 256 Ki runs take 6 MiB and cover at least 1 GiB, so few processes are walked twice.
    init(_ object: MemoryObject, runLimit: Int = 256 << 10) {
        self.object = object
        self.runLimit = runLimit
    }

    /// The next runs; nil when there are no more.
    mutating func next<Supply: PageSupply & ~Copyable>(from supply: inout Supply) throws(CheckpointError) -> [PageRun]? {
        guard !isDone else { return nil }
        var collected: [PageRun] = []
        let start = resumeAddress
        let limit = runLimit
        do throws(PageSupplyError) {
            try supply.forEachBatch(of: object) { runs in
                for run in runs {
                    let length = UInt64(run.count) &* UInt64(FrameNumber.size)
                    guard run.address.rawValue &+ length > start else { continue }
                    guard run.address.rawValue < start else {
                        collected.append(run)
                        continue
                    }
                    // Part of the run was delivered before.
                    let skipped = (start - run.address.rawValue) / UInt64(FrameNumber.size)
                    collected.append(
                        PageRun(
                            address: VirtualAddress(rawValue: start),
                            frame: FrameNumber(rawValue: run.frame.rawValue &+ skipped),
                            count: run.count - UInt32(truncatingIfNeeded: skipped)))
                }
                return collected.count < limit
            }
        } catch {
            throw .pages(error.description)
        }
        if collected.count < limit { isDone = true }
        guard let last = collected.last else { return nil }
        resumeAddress = last.address.rawValue &+ UInt64(last.count) &* UInt64(FrameNumber.size)
        return collected
    }
}
