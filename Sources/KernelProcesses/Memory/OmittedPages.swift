import GuestMemory
import ProcessModel

/// What a dump means for those who are in it when pages were left out of it on purpose.
extension DeadKernel {
    /// For an operator, in one sentence: which pages the source lacks, and what that costs. Nil when it lacks none that anybody would want.
    public var omission: String? {
        switch source.omittedPages {
        case .none: nil
        case .unknownKinds:
            "pages were left out of the dump (an ELF file does not say which; makedumpfile -E -d does that); what needs one is refused"
        case .kinds(let level) where level.contains(.processes): Self.withoutProcesses(level)
        case .kinds(let level) where !level.isDisjoint(with: [.cache, .privateCache]):
            "\(Self.without("the page cache", level, level.intersection([.cache, .privateCache]))); files whose newest pages were not on the disk yet, and shared memory, are lost"
        case .kinds: nil
        }
    }

    private static func withoutProcesses(_ level: DumpLevel) -> String {
        without("the pages of processes", level, .processes) + "; no process can come back from it"
    }

    private static func without(_ what: String, _ level: DumpLevel, _ part: DumpLevel) -> String {
        let meaning = level == part ? "" : ", of which \(part.rawValue) means that"
        return "the dump was made without \(what) (makedumpfile -d \(level.rawValue)\(meaning))"
    }

    /// Why a group cannot come back out of a source without some pages, before anybody has looked for each of them.
    func obstacle(ofOmittedPagesTo read: ReadGroup) -> Obstacle? {
        switch source.omittedPages {
        case .none: nil
        case .kinds(let level) where level.contains(.processes):
            Obstacle(.refused, pid: nil, reason: Self.withoutProcesses(level))
        case .kinds(let level) where level.contains(.cache) && !read.group.sharedMemory.isEmpty:
            Obstacle(.refused, pid: nil, reason: Self.without("its shared memory", level, .cache))
        case .kinds: nil
        case .unknownKinds where lacksPages(of: read):
            Obstacle(.refused, pid: nil, reason: "the dump was made without the pages of processes (as makedumpfile -d 8 does)")
        case .unknownKinds: nil
        }
    }

    /// Whether a page that belongs to a process of a group is missing. One is not enough to ask for: makedumpfile leaves out only long stretches of an
    /// ELF file (PFN_EXCLUDED, 256 pages), so some pages of every process are there.
    private func lacksPages(of read: ReadGroup) -> Bool {
        var pages = read.pages
        return pages.spaces.keys.sorted { $0.rawValue < $1.rawValue }.contains { space in
            var isLacking = false
            // Another fault is told of when the pages are saved.
            try? pages.forEachBatch(of: .addressSpace(space)) { runs in
                isLacking = runs.contains(where: isMissing(anyOf:))
                return !isLacking
            }
            return isLacking
        }
    }

    private func isMissing(anyOf run: PageRun) -> Bool {
        guard run.frame.swapSlot == nil else { return false }
        return (0..<UInt64(run.count)).contains { isMissing(FrameNumber(run.frame.rawValue &+ $0)) }
    }

    /// Whether a frame was left out; one that lies outside of memory was not.
    private func isMissing(_ frame: FrameNumber) -> Bool {
        var word: UInt64 = 0
        var fault: MemoryFault?
        unsafe withUnsafeMutableBytes(of: &word) { buffer in
            // Eight bytes at the beginning of a frame.
            do throws(MemoryFault) { try unsafe source.read(frame.address, into: buffer) } catch { fault = error }
        }
        return fault?.reason == .notInDump
    }
}
