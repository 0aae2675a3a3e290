import GuestMemory
import KernelTypes

/// kallsyms: the input is a piece of the kernel's memory that holds all parts of the table, at fixed places.
///
/// Safe although it passes raw memory on: it only fills what it is given.
@safe private final class InputMemory: FrameSource {
    /// Frames 0 to 3 are page tables, the input begins at frame 4.
    private let bytes: [UInt8]
    let frameLimit: FrameNumber
    static let base: UInt64 = 0xffff_8880_0000_0000

    init(_ input: [UInt8]) {
        let pages = min((input.count + 4095) / 4096, 500)
        var bytes = [UInt8](repeating: 0, count: 4 * 4096)
        func entry(_ table: Int, _ index: UInt64, _ value: UInt64) {
            let at = table * 4096 + Int(index & 0x1ff) * 8
            for byte in 0..<8 { bytes[at + byte] = UInt8(truncatingIfNeeded: value >> UInt64(byte * 8)) }
        }
        entry(0, Self.base >> 39, 0x1003)
        entry(1, Self.base >> 30, 0x2003)
        entry(2, Self.base >> 21, 0x3003)
        for page in 0..<pages { entry(3, UInt64(page), UInt64(page + 4) << 12 | 3) }
        bytes += input.prefix(pages * 4096)
        bytes += [UInt8](repeating: 0, count: (4096 - bytes.count % 4096) % 4096)
        self.bytes = bytes
        frameLimit = FrameNumber(UInt64(bytes.count / 4096))
    }

    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        guard address.frame < frameLimit, address.offsetInFrame + buffer.count <= 4096 else {
            throw MemoryFault(.notInDump, at: address)
        }
        // The range lies in the frame, and the frame in the bytes.
        unsafe buffer.copyBytes(from: bytes[Int(address.rawValue)..<Int(address.rawValue) + buffer.count])
    }

    func withFrames<Result>(
        _ frames: ArraySlice<FrameNumber>, _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result { unsafe try body([]) }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSymbolTable(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    // The fuzzer lends `size` bytes for the call.
    let memory = unsafe InputMemory(Array(UnsafeBufferPointer(start: data, count: size)))
    func at(_ offset: UInt64) -> String { String(InputMemory.base + offset, radix: 16) }
    let text = """
        SYMBOL(kallsyms_num_syms)=\(at(0))
        SYMBOL(kallsyms_relative_base)=\(at(8))
        SYMBOL(kallsyms_token_index)=\(at(16))
        SYMBOL(kallsyms_token_table)=\(at(528))
        SYMBOL(kallsyms_offsets)=\(at(1024))
        SYMBOL(kallsyms_names)=\(at(1040))
        SYMBOL(_stext)=ffffffff81000000
        """
    let virtual = VirtualMemory(source: memory, tables: PageTables(root: PhysicalAddress(0), levels: 4))
    _ = try? SymbolTable(names: ["init_task", "tk_core"], info: VMCoreInfo(text: Array(text.utf8)), memory: virtual)
    return 0
}
