import GuestMemory

/// What `xl dump-core` writes (docs/misc/dump-core-format.txt and tools/libs/guest/xg_core.c of Xen 4.17): an ELF core without segments. The section `.xen_pages` has the
/// pages one behind the other, `.xen_pfn` the number of each. Of a PV domain it is `.xen_p2m`, which has two numbers of each: the guest's and the machine's.
struct XenCore {
    let layout: FlatLayout
    /// Nil but for a PV domain.
    let machineFrames: MachineFrames?
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
        let isPV = section(".xen_p2m") != nil
        guard let section = section(".xen_p2m") ?? section(".xen_pfn") else {
            throw DumpError(description: "it is the core of a Xen domain, but has neither a section .xen_pfn nor .xen_p2m")
        }
        let numbers = try Numbers(section, of: pages, areInPairs: isPV, in: file)
        layout = FlatLayout(try Self.stretches(pages, numbers, in: file), lacksPages: false)
        machineFrames = isPV ? try Self.machineFrames(numbers, in: file) : nil
        let contexts = core.sections.first { $0.name == ".xen_prstatus" }.flatMap { section in
            section.size <= 1 << 26 ? file.bytes(at: section.offset, count: Int(section.size)) : nil
        }
        cpus = Self.contexts(contexts ?? [], isPV: isPV)
    }

    /// The table of the pages' numbers.
    private struct Numbers {
        let section: ELFCore.Section
        /// Bytes of an entry; the guest's number is the first word of it.
        let stride: Int
        let count: UInt64

        /// - Throws: when the table is not that of these pages, or not all there.
        init(_ section: ELFCore.Section, of pages: ELFCore.Section, areInPairs: Bool, in file: DumpBytes) throws(DumpError) {
            self.section = section
            stride = areInPairs ? 16 : 8
            count = section.size / UInt64(stride)
            let size = UInt64(FrameNumber.size)
            guard pages.size % size == 0, count == pages.size / size else {
                throw DumpError(
                    description:
                        "it is the core of a Xen domain with \(pages.size) bytes of pages, but \(count) numbers of pages")
            }
            // The table of pages is behind them, so whoever has it has all pages.
            guard pages.offset <= file.size, pages.size <= file.size - pages.offset, section.offset <= file.size,
                section.size <= file.size - section.offset
            else { throw DumpError(description: "it is the core of a Xen domain that was cut short") }
        }

        /// Calls `body` for each page, with its place in the file and its numbers; without pairs both are the same.
        func forEach(
            in file: DumpBytes, _ body: (_ index: UInt64, _ frame: UInt64, _ machine: UInt64) throws(DumpError) -> Void
        )
            throws(DumpError)
        {
            var done: UInt64 = 0
            while done < count {
                let portion = Int(min(count - done, UInt64(XenCore.portion)))
                guard let table = file.bytes(at: section.offset + done * UInt64(stride), count: portion * stride) else {
                    throw DumpError(description: "its table of pages cannot be read")
                }
                for index in 0..<portion {
                    let number: UInt64 = table.number(at: index * stride)
                    if number == XenCore.noFrame { continue }
                    guard number < 1 << 40 else {
                        throw DumpError(description: "it is the core of a Xen domain with a page of the number \(number)")
                    }
                    try body(done + UInt64(index), number, table.number(at: index * stride + stride - 8))
                }
                done += UInt64(portion)
            }
        }
    }

    private static func stretches(_ pages: ELFCore.Section, _ numbers: Numbers, in file: DumpBytes) throws(DumpError)
        -> [FlatLayout.Segment]
    {
        let size = UInt64(FrameNumber.size)
        var stretches: [FlatLayout.Segment] = []
        try numbers.forEach(in: file) { index, frame, _ throws(DumpError) in
            let start = frame * size
            let offset = pages.offset + index * size
            if let last = stretches.last, last.end == start, last.offset + (last.end - last.start) == offset {
                stretches[stretches.count - 1].end += size
            } else {
                guard stretches.count < stretchLimit else {
                    throw DumpError(description: "it is the core of a Xen domain whose pages are in no order")
                }
                stretches.append(FlatLayout.Segment(start: start, end: start + size, offset: offset))
            }
        }
        let sorted = stretches.sorted { $0.start < $1.start }
        for (lower, upper) in zip(sorted, sorted.dropFirst()) where upper.start < lower.end {
            throw DumpError(description: "it is the core of a Xen domain that has page \(upper.start / size) twice")
        }
        guard !stretches.isEmpty else { throw DumpError(description: "it is the core of a Xen domain without memory") }
        return stretches
    }

    private static func machineFrames(_ numbers: Numbers, in file: DumpBytes) throws(DumpError) -> MachineFrames {
        let limit = MachineFrames.limit(frames: numbers.count)
        var table: [UInt64] = []
        try numbers.forEach(in: file) { _, frame, machine throws(DumpError) in
            guard frame < limit else {
                throw DumpError(
                    description: "it is the core of a PV domain of \(numbers.count) pages with one of the number \(frame)")
            }
            if table.count <= frame { table += Array(repeating: .max, count: Int(frame) + 1 - table.count) }
            table[Int(frame)] = machine
        }
        return MachineFrames(table: table)
    }

    /// Byte offsets in `struct vcpu_guest_context` (xen/include/public/arch-x86/xen.h).
    private enum Context {
        static let size = 5168
        static let flags = 512
        /// VGCF_in_kernel: a PV guest's kernel runs in ring 3 like its programs.
        static let inKernel: UInt64 = 4
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

    /// The contexts of the vCPUs, as arch_get_info_guest of Xen 4.17 fills them; those that were never started, which are the last ones, have none.
    ///
    /// Their floating point state is not used: it is the legacy area alone, without saying which parts of it were in their initial state and are therefore not
    /// in it, nor what AVX and later had.
    private static func contexts(_ bytes: [UInt8], isPV: Bool) -> [VCPUContext] {
        (0..<bytes.count / Context.size).map { number in
            let context = Array(bytes[number * Context.size..<(number + 1) * Context.size])
            func word(_ offset: Int) -> UInt64 { context.number(at: offset) }
            let codeSegment: UInt16 = context.number(at: Context.codeSegment)
            // Xen tells the two bases apart by who uses them; the CPU has the one of the mode that it is in.
            let isInKernel = isPV ? word(Context.flags) & Context.inKernel != 0 : codeSegment & 3 == 0
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
