/// Where the guest's memory lies in a file that holds it as it is.
///
/// Most of what is salvaged is page contents, and here a run of frames is one pread(2) into the batch that is then written out.
struct FlatLayout: Sendable {
    /// Physical addresses `start..<end` at `offset` in the file.
    struct Segment: Equatable {
        var start: UInt64
        var end: UInt64
        var offset: UInt64
    }

    /// In the order of their addresses, without overlap.
    let segments: [Segment]
    /// Whether there was memory that was left out of the file on purpose.
    let lacksPages: Bool

    /// - Parameter segments: in any order.
    init(_ segments: [Segment], lacksPages: Bool) {
        var apart: [Segment] = []
        for segment in segments.sorted(by: { $0.start < $1.start }) {
            var rest = segment
            if let end = apart.last?.end, end > rest.start {
                // The kernel's image is twice in what a crash kernel saves, as memory and by its virtual addresses (crash_prepare_elf64_headers, kernel/crash_core.c).
                guard rest.end > end else { continue }
                rest.offset += end - rest.start
                rest.start = end
            }
            apart.append(rest)
        }
        self.segments = apart
        self.lacksPages = lacksPages
    }

    /// The memory in an ELF core, as QEMU's `dump-guest-memory`, `makedumpfile -E` and /proc/vmcore have it; nil when it has none.
    init?(_ core: ELFCore, in file: DumpBytes) {
        var found: [Segment] = []
        var lacksPages = false
        for segment in core.segments where segment.kind == ELFCore.loadSegment {
            // What is only in memory was left out (write_elf_pages_cyclic of makedumpfile 1.7.2).
            if segment.sizeInMemory > segment.sizeInFile { lacksPages = true }
            // A file that was cut short lacks what is behind its end, not more.
            let length = segment.offset < file.size ? min(segment.sizeInFile, file.size - segment.offset) : 0
            let (end, overflow) = segment.physicalAddress.addingReportingOverflow(length)
            // A segment without a physical address has all ones there.
            guard !overflow, length > 0 else { continue }
            found.append(Segment(start: segment.physicalAddress, end: end, offset: segment.offset))
        }
        guard !found.isEmpty else { return nil }
        self.init(found, lacksPages: lacksPages)
    }

    /// Where in the file the `count` bytes from `address` are; nil when they are not all in one segment.
    func offset(of address: UInt64, count: Int) -> UInt64? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].end <= address { low = middle + 1 } else { high = middle }
        }
        guard low < segments.count, segments[low].start <= address, UInt64(count) <= segments[low].end - address else {
            return nil
        }
        return segments[low].offset + (address - segments[low].start)
    }
}
