import GuestMemory
import ProcessModel

extension PageSupply where Self: ~Copyable {
    /// A page's bytes in memory of our own: for the few that are changed on their way, or do not go out whole.
    mutating func copy(_ frame: FrameNumber) throws(CheckpointError) -> [UInt8] {
        var page: [UInt8] = []
        do throws(PageSupplyError) {
            // Copied while the supply lends it.
            try unsafe lend([frame]) { pieces in
                unsafe pieces.forEach { unsafe page.append(contentsOf: $0) }
            }
        } catch {
            throw .pages(error.description)
        }
        guard page.count == FrameNumber.size else { throw .pages("the memory source lent no whole page for \(frame)") }
        return page
    }
}
