import GuestMemory

/// Where the parts of the kernel's compressed symbol table lie (kernel/kallsyms_internal.h).
struct SymbolTableParts: Hashable, Sendable {
    var count: Int
    var names: VirtualAddress
    var tokenTable: VirtualAddress
    var tokenIndex: VirtualAddress
    var offsets: VirtualAddress
    /// What the offsets count from; nil where each counts from its own place.
    var relativeBase: UInt64?

    /// The most symbols believed: five times what a distribution kernel has.
    static let countLimit = 1 << 20

    /// The parts as VMCOREINFO names them, since Linux 6.0 (commit 5fd8fea935a1, "vmcoreinfo: include kallsyms symbols").
    /// - Returns: nil when it names none.
    static func named(in info: VMCoreInfo, memory: VirtualMemory) throws -> SymbolTableParts? {
        guard info.symbol("kallsyms_names") != nil else { return nil }
        func part(_ name: String) throws(KernelError) -> VirtualAddress {
            guard let address = info.symbol(name) else { throw .noVMCoreInfoLine("SYMBOL(\(name))") }
            return address
        }
        let count = Int(try memory.integer(at: part("kallsyms_num_syms"), as: UInt32.self))
        guard (1...countLimit).contains(count) else { throw KernelError.symbols("it claims \(count) symbols") }
        return SymbolTableParts(
            count: count, names: try part("kallsyms_names"), tokenTable: try part("kallsyms_token_table"),
            tokenIndex: try part("kallsyms_token_index"), offsets: try part("kallsyms_offsets"),
            relativeBase: try info.symbol("kallsyms_relative_base").map { try memory.integer(at: $0) })
    }
}

/// The addresses of the symbols, each as its position in the table gives it.
struct SymbolOffsets {
    private let parts: SymbolTableParts
    private let bytes: [UInt8]
    private let form: Form

    private enum Form: CaseIterable {
        /// CONFIG_KALLSYMS_ABSOLUTE_PERCPU (x86-64 SMP before 6.15): a negative offset counts down from the base, the others are absolute.
        case downFromBase
        /// Without that option all count up.
        case upFromBase
        /// Without a base each counts from where it stands itself (kallsyms_sym_address, kernel/kallsyms.c; "kallsyms: Get rid of kallsyms relative base", 7.x).
        case fromItself
    }

    /// - Parameter index: the position of a symbol that is known to lie at `anchor`; it decides which form the offsets have.
    init(parts: SymbolTableParts, memory: VirtualMemory, index: Int, isAt anchor: VirtualAddress) throws {
        self.parts = parts
        bytes = try memory.bytes(at: parts.offsets, count: parts.count * 4)
        let candidates = Form.allCases.filter { ($0 == .fromItself) == (parts.relativeBase == nil) }
        for form in candidates where Self.address(index, form, parts, bytes) == anchor {
            self.form = form
            return
        }
        throw KernelError.symbols("_stext is not where VMCOREINFO says")
    }

    subscript(index: Int) -> VirtualAddress { Self.address(index, form, parts, bytes) }

    private static func address(_ index: Int, _ form: Form, _ parts: SymbolTableParts, _ bytes: [UInt8]) -> VirtualAddress {
        let word =
            UInt32(bytes[index * 4]) | UInt32(bytes[index * 4 + 1]) << 8 | UInt32(bytes[index * 4 + 2]) << 16
            | UInt32(bytes[index * 4 + 3]) << 24
        let signed = UInt64(bitPattern: Int64(Int32(bitPattern: word)))
        let base = parts.relativeBase ?? 0
        return switch form {
        case .downFromBase: VirtualAddress(word >> 31 == 1 ? base &- 1 &- signed : UInt64(word))
        case .upFromBase: VirtualAddress(base &+ UInt64(word))
        case .fromItself: VirtualAddress((parts.offsets + index * 4).rawValue &+ signed)
        }
    }
}
