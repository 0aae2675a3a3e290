import GuestMemory

/// What `xl dump-core` writes (docs/misc/dump-core-format.txt and tools/libs/guest/xg_core.c of Xen 4.17): an ELF core without segments. The section `.xen_pages` has the
/// pages one behind the other, `.xen_pfn` the number of each.
struct XenCore {
    let layout: FlatLayout
    let cpus: [VCPUContext]

    /// What fills up the table when the domain had less memory than was thought.
    private static let noFrame = UInt64.max
    /// Stretches of memory that lie together which are believed (24 MiB in memory); a domain has a handful.
    private static let stretchLimit = 1 << 20
    /// Numbers that are read at once.
    private static let portion = 8192

    /// - Returns: nil for another core file.
    /// - Throws: what makes it one that cannot be read.
    init?(_ core: ELFCore, in file: DumpBytes) throws(DumpError) {
        func section(_ name: String) -> ELFCore.Section? { core.sections.first { $0.name == name } }
        guard let pages = section(".xen_pages") else { return nil }
        guard section(".xen_p2m") == nil else {
            throw DumpError(description: "it is the core of a PV domain, which nothing reads yet")
        }
        guard let numbers = section(".xen_pfn") else {
            throw DumpError(description: "it is the core of a Xen domain, but has no section .xen_pfn")
        }
        layout = FlatLayout(try Self.stretches(pages, numbers, in: file), lacksPages: false)
        let contexts = section(".xen_prstatus").flatMap { section in
            section.size <= 1 << 26 ? file.bytes(at: section.offset, count: Int(section.size)) : nil
        }
        cpus = Self.contexts(contexts ?? [])
    }

    private static func stretches(_ pages: ELFCore.Section, _ numbers: ELFCore.Section, in file: DumpBytes)
        throws(DumpError) -> [FlatLayout.Segment]
    {
        let size = UInt64(FrameNumber.size)
        let count = numbers.size / 8
        guard pages.size % size == 0, count == pages.size / size else {
            throw DumpError(
                description: "it is the core of a Xen domain with \(pages.size) bytes of pages, but \(count) numbers of pages")
        }
        // The table of pages is behind them, so whoever has it has all pages.
        guard pages.offset <= file.size, pages.size <= file.size - pages.offset, numbers.offset <= file.size,
            numbers.size <= file.size - numbers.offset
        else { throw DumpError(description: "it is the core of a Xen domain that was cut short") }
        var stretches: [FlatLayout.Segment] = []
        var done: UInt64 = 0
        while done < count {
            let portion = Int(min(count - done, UInt64(Self.portion)))
            guard let table = file.bytes(at: numbers.offset + done * 8, count: portion * 8) else {
                throw DumpError(description: "its table of pages cannot be read")
            }
            for index in 0..<portion {
                let number: UInt64 = table.number(at: index * 8)
                if number == noFrame { continue }
                guard number < 1 << 40 else {
                    throw DumpError(description: "it is the core of a Xen domain with a page of the number \(number)")
                }
                let start = number * size
                let offset = pages.offset + (done + UInt64(index)) * size
                if let last = stretches.last, last.end == start, last.offset + (last.end - last.start) == offset {
                    stretches[stretches.count - 1].end += size
                } else {
                    guard stretches.count < stretchLimit else {
                        throw DumpError(description: "it is the core of a Xen domain whose pages are in no order")
                    }
                    stretches.append(FlatLayout.Segment(start: start, end: start + size, offset: offset))
                }
            }
            done += UInt64(portion)
        }
        let sorted = stretches.sorted { $0.start < $1.start }
        for (lower, upper) in zip(sorted, sorted.dropFirst()) where upper.start < lower.end {
            throw DumpError(description: "it is the core of a Xen domain that has page \(upper.start / size) twice")
        }
        guard !stretches.isEmpty else { throw DumpError(description: "it is the core of a Xen domain without memory") }
        return stretches
    }

    /// Byte offsets in `struct vcpu_guest_context` (xen/include/public/arch-x86/xen.h).
    private enum Context {
        static let size = 5168
        /// r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di.
        static let general = (0..<15).map { 520 + $0 * 8 }
        static let instructionPointer = 648
        static let codeSegment = 656
        static let registerFlags = 664
        static let stackPointer = 672
        static let stackSegment = 680
        static let pageTableRoot = 5008
        static let fsBase = 5144
        static let kernelGSBase = 5152
        static let userGSBase = 5160
    }

    /// The contexts of the vCPUs, as arch_get_info_guest of Xen 4.17 fills them for PVH and HVM domains; those that were never started, which are the last ones, have none.
    ///
    /// Their floating point state is not used: it is the legacy area alone, without saying which parts of it were in their initial state and are therefore not
    /// in it, nor what AVX and later had.
    private static func contexts(_ bytes: [UInt8]) -> [VCPUContext] {
        (0..<bytes.count / Context.size).map { number in
            let context = Array(bytes[number * Context.size..<(number + 1) * Context.size])
            func word(_ offset: Int) -> UInt64 { context.number(at: offset) }
            let codeSegment: UInt16 = context.number(at: Context.codeSegment)
            // Xen tells the two bases apart by who uses them; the CPU has the one of the mode that it is in.
            let isInKernel = codeSegment & 3 == 0
            var result = VCPUContext(
                number: number, instructionPointer: word(Context.instructionPointer),
                stackPointer: word(Context.stackPointer), pageTableRoot: word(Context.pageTableRoot),
                fsBase: word(Context.fsBase), gsBase: word(isInKernel ? Context.kernelGSBase : Context.userGSBase),
                shadowGSBase: word(isInKernel ? Context.userGSBase : Context.kernelGSBase))
            result.general = Context.general.map(word)
            result.flags = word(Context.registerFlags)
            result.codeSegment = UInt64(codeSegment)
            result.stackSegment = UInt64(context.number(at: Context.stackSegment, as: UInt16.self))
            return result
        }
    }
}
