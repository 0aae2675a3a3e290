import GuestMemory

/// Finds the kernel's compressed symbol table in its image, for kernels whose VMCOREINFO does not say where it is (before 6.0).
///
/// The table has no header, but every kernel has symbols with digits in their names, so its tokens hold the ten digits one after the
/// other. From there the other parts follow, for scripts/kallsyms.c (4.20 to 5.19) writes them in this order, each on a multiple of 8:
/// offsets, relative_base, num_syms, names, markers, token_table, token_index.
struct SymbolTableSearch {
    let memory: VirtualMemory

    /// Strings of ten digits that are looked into before the search gives up.
    private static let candidateLimit = 64
    /// KERNEL_IMAGE_SIZE with KASLR (arch/x86/include/asm/page_64_types.h): modules lie above.
    private static let imageLimit = VMCoreInfo.imageMap + 1 << 30
    /// KSYM_NAME_LEN of these kernels; no token and no compressed name is longer.
    private static let nameLimit = 128

    /// The tokens of the digits: each stands for itself.
    static let digits: [UInt8] = (UInt8(ascii: "0")...UInt8(ascii: "9")).flatMap { [$0, 0] }

    /// Searches the image upwards from `start`.
    /// - Throws: `KernelError.symbols` when no table is there.
    func parts(from start: VirtualAddress) throws(KernelError) -> SymbolTableParts {
        var found: SymbolTableParts?
        var candidates = 0
        forEachPattern(from: start) { digits in
            candidates += 1
            found = try? parts(around: digits)
            return found == nil && candidates < Self.candidateLimit
        }
        guard let found else {
            throw .symbols("VMCOREINFO does not say where it is, and it is not found in the kernel's image")
        }
        return found
    }

    /// Calls `body` for each place of the digits, until it returns false.
    private func forEachPattern(from start: VirtualAddress, _ body: (VirtualAddress) -> Bool) {
        var page = start.page
        // The end of the page before, when that is mapped: the digits can lie across.
        var tail: [UInt8] = []
        while page.rawValue >= VMCoreInfo.imageMap, page.rawValue < Self.imageLimit {
            guard let entry = try? memory.tables.entry(for: page, in: memory.source) else { return }
            guard entry.isPresent, let bytes = try? memory.bytes(at: page, count: FrameNumber.size) else {
                tail = []
                let step = entry.isPresent ? UInt64(FrameNumber.size) : entry.size
                page = VirtualAddress((page.rawValue & ~(step - 1)) &+ step)
                continue
            }
            let window = tail + bytes
            var index = 0
            while index + Self.digits.count <= window.count {
                if window[index] == Self.digits[0], window[index...].starts(with: Self.digits),
                    !body(page + (index - tail.count))
                {
                    return
                }
                index += 1
            }
            tail = Array(bytes.suffix(Self.digits.count - 1))
            page = page + FrameNumber.size
        }
    }

    private struct NoTable: Error {}

    /// The parts of the table whose tokens of the digits are at `digits`.
    private func parts(around digits: VirtualAddress) throws -> SymbolTableParts {
        let (table, index) = try tokens(around: digits)
        let (markers, last, markerCount) = try markers(before: table)

        // Names start where the last marker leads to a place from which the remaining names end at the markers. In front of
        // them is their number, and that tells how many remain.
        var names = VirtualAddress((markers.rawValue &- UInt64(last)) & ~7)
        for _ in 0...256 * (Self.nameLimit + 1) / 8 {
            defer { names = names - 8 }
            let count = Int(try memory.integer(at: names - 8, as: UInt32.self))
            let remaining = count - (markerCount - 1) * 256
            guard (1...256).contains(remaining), try memory.integer(at: names - 4, as: UInt32.self) == 0,
                let end = try end(ofNames: remaining, at: names + Int(last)), end <= markers,
                markers.rawValue - end.rawValue < 8
            else { continue }
            return SymbolTableParts(
                count: count, names: names, tokenTable: table, tokenIndex: index,
                offsets: names - 16 - (count * 4 + 7) / 8 * 8,
                relativeBase: try memory.integer(at: names - 16))
        }
        throw NoTable()
    }

    /// The token table and the index behind it, which must agree in all 256 tokens.
    private func tokens(around digits: VirtualAddress) throws -> (table: VirtualAddress, index: VirtualAddress) {
        let first = Int(UInt8(ascii: "0"))
        var position = digits
        for _ in first..<256 { position = position + (try tokenLength(at: position) + 1) }
        let index = VirtualAddress((position.rawValue + 7) & ~7)
        func offset(_ token: Int) throws(MemoryFault) -> Int { Int(try memory.integer(at: index + token * 2, as: UInt16.self)) }
        guard try offset(0) == 0 else { throw NoTable() }
        let table = digits - (try offset(first))
        for token in 0..<255 {
            guard try offset(token + 1) - offset(token) == tokenLength(at: table + offset(token)) + 1 else { throw NoTable() }
        }
        return (table, index)
    }

    private func tokenLength(at address: VirtualAddress) throws -> Int {
        for length in 0...Self.nameLimit where try memory.integer(at: address + length, as: UInt8.self) == 0 { return length }
        throw NoTable()
    }

    /// The markers, which tell for every 256th name where it starts: they end at `table` and rise from 0.
    private func markers(before table: VirtualAddress) throws -> (start: VirtualAddress, last: UInt32, count: Int) {
        var position = table - 4
        var above = try memory.integer(at: position, as: UInt32.self)
        if above == 0 {
            position = position - 4
            above = try memory.integer(at: position, as: UInt32.self)
        }
        let last = above
        var count = 1
        while above != 0 {
            guard count <= SymbolTableParts.countLimit / 256 else { throw NoTable() }
            position = position - 4
            let marker = try memory.integer(at: position, as: UInt32.self)
            guard marker < above else { throw NoTable() }
            above = marker
            count += 1
        }
        return (position, last, count)
    }

    /// Where `count` compressed names end, nil when they are none.
    private func end(ofNames count: Int, at start: VirtualAddress) throws(MemoryFault) -> VirtualAddress? {
        var position = start
        for _ in 0..<count {
            let length = Int(try memory.integer(at: position, as: UInt8.self))
            guard (1...Self.nameLimit).contains(length) else { return nil }
            position = position + length + 1
        }
        return position
    }
}
