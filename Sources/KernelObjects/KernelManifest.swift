import GuestMemory
import KernelTypes

/// All that is learned about a kernel while it is healthy, kept where its crash cannot reach it.
///
/// Layouts of structures are resolved from `types` by the rooms that walk them.
public struct KernelManifest: Sendable {
    public var info: VMCoreInfo
    public var tables: PageTables
    public var symbols: SymbolTable
    public var types: TypeTable

    /// The most bytes of BTF believed; Debian's kernels have 5 MB.
    static let btfLimit = 64 << 20

    /// Learns the kernel in `source`, dead or alive.
    /// - Parameter symbols: names that the walk wants to know; a missing one is no error here.
    /// - Throws: `KernelError` with the first thing that makes this kernel one that cannot be salvaged.
    public static func learn(from source: any FrameSource, symbols wanted: Set<String>) throws(KernelError) -> KernelManifest {
        let info = try VMCoreInfo.find(in: source)
        let tables = try info.pageTables()
        let memory = VirtualMemory(source: source, tables: tables)
        let names = wanted.union(["__start_BTF", "__stop_BTF"])
        let symbols = try SymbolTable(names: names, info: info, memory: memory)
        guard let start = symbols.addresses["__start_BTF"], let stop = symbols.addresses["__stop_BTF"], start < stop else {
            throw .types("the kernel has no BTF section: it was built without CONFIG_DEBUG_INFO_BTF")
        }
        let length = stop.rawValue - start.rawValue
        guard length <= UInt64(btfLimit) else { throw .types("its section claims \(length) bytes") }
        let bytes: [UInt8]
        do { bytes = try memory.bytes(at: start, count: Int(length)) } catch { throw .memory(error, reading: "BTF") }
        return KernelManifest(info: info, tables: tables, symbols: symbols, types: try TypeTable(btf: bytes))
    }
}
