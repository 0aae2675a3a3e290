import GuestMemory

/// The kernel's own description of itself for dump tools (kernel/crash_core.c, later kernel/vmcore_info.c).
///
/// The kernel keeps it in a page of its own that starts with `OSRELEASE=` (`vmcoreinfo_data`, allocated in
/// `crash_save_vmcoreinfo_init`), so it can be found in raw memory, before anything else about the kernel is known.
public struct VMCoreInfo: Hashable, Sendable {
    public let lines: [String: String]

    static let beginning: [UInt8] = Array("OSRELEASE=".utf8)

    /// Parses the text of the page.
    /// - Parameter text: up to its first zero byte; lines without `=` are ignored.
    public init(text: some Collection<UInt8>) {
        var lines: [String: String] = [:]
        for line in text.prefix(while: { $0 != 0 }).split(separator: UInt8(ascii: "\n")) {
            guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
            let key = String(decoding: line[..<equals], as: UTF8.self)
            lines[key] = String(decoding: line[line.index(after: equals)...], as: UTF8.self)
        }
        self.lines = lines
    }

    /// The kernel's release, as `uname -r` prints it.
    public var release: String { lines["OSRELEASE"] ?? "" }

    /// The address of a symbol, KASLR included.
    public func symbol(_ name: String) -> VirtualAddress? {
        lines["SYMBOL(\(name))"].flatMap { UInt64($0, radix: 16) }.map { VirtualAddress($0) }
    }

    /// A decimal number; the kernel prints some of them as signed.
    public func number(_ name: String) -> Int64? {
        lines["NUMBER(\(name))"].flatMap { Int64($0) ?? UInt64($0).map { Int64(bitPattern: $0) } }
    }

    /// Where the kernel's image is mapped (`__START_KERNEL_map`, arch/x86/include/asm/page_64_types.h).
    static let imageMap: UInt64 = 0xffff_ffff_8000_0000

    /// The page tables of the kernel itself.
    /// - Throws: `noVMCoreInfoLine`.
    public func pageTables() throws(KernelError) -> PageTables {
        guard let top = symbol("init_top_pgt") ?? symbol("swapper_pg_dir") else {
            throw .noVMCoreInfoLine("SYMBOL(swapper_pg_dir)")
        }
        guard let base = number("phys_base") else { throw .noVMCoreInfoLine("NUMBER(phys_base)") }
        let root = top.rawValue &- Self.imageMap &+ UInt64(bitPattern: base)
        return PageTables(
            root: PhysicalAddress(root), levels: number("pgtable_l5_enabled") == 1 ? 5 : 4,
            encryptionMask: UInt64(bitPattern: number("sme_mask") ?? 0))
    }

    /// Finds the VMCOREINFO page of the kernel that runs, or ran, in the guest.
    ///
    /// Memory can hold leftovers of an earlier kernel; a candidate counts only if its page tables map its own symbols.
    public static func find(in source: any FrameSource) throws(KernelError) -> VMCoreInfo {
        if let note = source.vmCoreInfoNote {
            let candidate = VMCoreInfo(text: note)
            if candidate.describesRunningKernel(in: source) { return candidate }
        }
        var head = [UInt8](repeating: 0, count: beginning.count)
        var page = [UInt8](repeating: 0, count: FrameNumber.size)
        var number: UInt64 = 0
        while number < source.frameLimit.rawValue {
            let frame = FrameNumber(number)
            number += 1
            guard read(frame, into: &head, from: source), head == beginning, read(frame, into: &page, from: source) else {
                continue
            }
            let candidate = VMCoreInfo(text: page)
            if candidate.describesRunningKernel(in: source) { return candidate }
        }
        throw .noVMCoreInfo
    }

    private static func read(_ frame: FrameNumber, into bytes: inout [UInt8], from source: any FrameSource) -> Bool {
        unsafe bytes.withUnsafeMutableBytes { buffer in
            // At most one frame's size, from its first byte.
            unsafe (try? source.read(frame.address, into: buffer)) != nil
        }
    }

    /// Whether the release named here stands in `init_uts_ns` of the kernel that these page tables map.
    private func describesRunningKernel(in source: any FrameSource) -> Bool {
        guard let tables = try? pageTables(), let names = symbol("init_uts_ns"), !release.isEmpty else { return false }
        let memory = VirtualMemory(source: source, tables: tables)
        guard let bytes = try? memory.bytes(at: names, count: 1024) else { return false }
        let wanted = Array(release.utf8) + [0]
        return bytes.indices.contains { bytes[$0...].starts(with: wanted) }
    }
}
