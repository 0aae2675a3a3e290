import GuestMemory
import ProcessModel

/// Chooses, from the pages that a supply offers of an address space, those that belong into the checkpoint, and weaves in those that are changed or added.
struct PageSelector {
    /// What to write next, in ascending order of addresses.
    enum Segment: Equatable {
        case lent(PageRun)
        /// A page of the dead memory with some bytes replaced.
        case patched(address: VirtualAddress, frame: FrameNumber, patches: [MemoryPatch])
        /// A page that is in no frame.
        case own(address: VirtualAddress, bytes: [UInt8])
    }

    private struct Extra {
        var page: UInt64
        /// nil: whatever the frame holds, zeros when there is none.
        var bytes: [UInt8]?
        var patches: [MemoryPatch]
    }

    private let ranges: [Range<UInt64>]
    /// Those of files: what is in no frame of the process's own is in the file.
    private let fileRanges: [Range<UInt64>]
    private var extras: [Extra] = []
    private var nextRange = 0
    private var nextExtra = 0
    private var lastEnd: UInt64 = 0
    /// Offered pages that lie in no mapping that holds pages: the walk and the map disagree.
    private(set) var strayPages: UInt64 = 0
    /// Pages of files that were to be changed and are not the process's own yet.
    private(set) var unchangedPages: UInt64 = 0

    private static let pageSize: UInt64 = 4096

    /// - Parameters:
    ///   - ranges: ascending, not overlapping.
    ///   - fileRanges: those among them that are private mappings of files.
    init(ranges: [Range<UInt64>], fileRanges: [Range<UInt64>] = [], stub: RestartStub?, patches: [MemoryPatch]) {
        self.ranges = ranges
        self.fileRanges = fileRanges
        var byPage: [UInt64: [MemoryPatch]] = [:]
        for patch in patches {
            // A patch over a page's end is two patches.
            var address = patch.address.rawValue
            var rest = patch.bytes[...]
            while !rest.isEmpty {
                let room = Int(Self.pageSize - address % Self.pageSize)
                byPage[address / Self.pageSize * Self.pageSize, default: []].append(
                    MemoryPatch(address: VirtualAddress(rawValue: address), bytes: Array(rest.prefix(room))))
                rest = rest.dropFirst(room)
                address = address &+ UInt64(room)
            }
        }
        extras = byPage.filter { page, _ in ranges.contains { $0.contains(page) } }.map {
            Extra(page: $0.key, bytes: nil, patches: $0.value)
        }
        if let stub {
            let pages = stub.pages
            for offset in stride(from: 0, to: pages.count, by: Int(Self.pageSize)) {
                extras.append(
                    Extra(
                        page: stub.address.rawValue &+ UInt64(offset),
                        bytes: Array(pages[offset..<offset + Int(Self.pageSize)]), patches: []))
            }
        }
        extras.sort { $0.page < $1.page }
    }

    static func apply(_ patches: [MemoryPatch], to page: inout [UInt8]) {
        for patch in patches {
            let offset = patch.address.offsetInPage
            for (index, byte) in patch.bytes.enumerated() where offset + index < page.count { page[offset + index] = byte }
        }
    }

    /// What a batch contributes.
    mutating func select(_ runs: [PageRun]) throws(CheckpointError) -> [Segment] {
        var segments: [Segment] = []
        for run in runs {
            let start = run.address.rawValue
            let (length, overflow) = UInt64(run.count).multipliedReportingOverflow(by: Self.pageSize)
            guard run.count > 0, start % Self.pageSize == 0, start >= lastEnd, !overflow, start <= UInt64.max - length else {
                throw .pages("pages of the dead memory are out of order at \(run.address)")
            }
            lastEnd = start + length
            select(start..<start + length, frame: run.frame, into: &segments)
        }
        return segments
    }

    private mutating func select(_ offered: Range<UInt64>, frame: FrameNumber, into segments: inout [Segment]) {
        var position = offered.lowerBound
        while position < offered.upperBound {
            while nextRange < ranges.count, ranges[nextRange].upperBound <= position { nextRange += 1 }
            guard nextRange < ranges.count, ranges[nextRange].lowerBound < offered.upperBound else {
                strayPages &+= (offered.upperBound - position) / Self.pageSize
                return
            }
            let range = ranges[nextRange]
            if range.lowerBound > position {
                strayPages &+= (range.lowerBound - position) / Self.pageSize
                position = range.lowerBound
            }
            emitExtras(before: position, into: &segments)
            var end = min(offered.upperBound, range.upperBound)
            let current = FrameNumber(rawValue: frame.rawValue &+ (position - offered.lowerBound) / Self.pageSize)
            if nextExtra < extras.count, extras[nextExtra].page < end {
                let extra = extras[nextExtra]
                if extra.page == position {
                    segments.append(
                        .patched(address: VirtualAddress(rawValue: position), frame: current, patches: extra.patches))
                    nextExtra += 1
                    position += Self.pageSize
                    continue
                }
                end = extra.page
            }
            segments.append(
                .lent(
                    PageRun(
                        address: VirtualAddress(rawValue: position), frame: current,
                        count: UInt32((end - position) / Self.pageSize))))
            position = end
        }
    }

    private mutating func emitExtras(before limit: UInt64, into segments: inout [Segment]) {
        while nextExtra < extras.count, extras[nextExtra].page < limit {
            let extra = extras[nextExtra]
            if extra.bytes == nil, fileRanges.contains(where: { $0.contains(extra.page) }) {
                unchangedPages &+= 1
                nextExtra += 1
                continue
            }
            var bytes = extra.bytes ?? Array(repeating: 0, count: Int(Self.pageSize))
            Self.apply(extra.patches, to: &bytes)
            segments.append(.own(address: VirtualAddress(rawValue: extra.page), bytes: bytes))
            nextExtra += 1
        }
    }

    /// What is left when the supply has no more.
    mutating func finish() -> [Segment] {
        var segments: [Segment] = []
        emitExtras(before: .max, into: &segments)
        return segments
    }
}
