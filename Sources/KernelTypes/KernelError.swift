import GuestMemory

/// Why a kernel cannot be understood. Found out while it is healthy, this refuses protection; nothing else changes.
public enum KernelError: Error, Hashable, Sendable {
    /// No VMCOREINFO page was found in the guest's memory.
    case noVMCoreInfo
    /// VMCOREINFO lacks a line that is needed.
    case noVMCoreInfoLine(String)
    /// The kernel's symbol table cannot be decoded; says why.
    case symbols(String)
    /// A symbol that is needed is not in the kernel's table.
    case noSymbol(String)
    /// The kernel has no BTF, or it cannot be decoded; says why.
    case types(String)
    /// BTF has no such structure.
    case noType(String)
    /// The structure has no such field.
    case noField(type: String, field: String)
    /// What is needed cannot be read at all.
    case memory(MemoryFault, reading: String)
}

extension KernelError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .noVMCoreInfo: "no VMCOREINFO page in the guest's memory: is a Linux kernel with CONFIG_CRASH_CORE running?"
        case .noVMCoreInfoLine(let line): "the kernel's VMCOREINFO has no line \(line)"
        case .symbols(let why): "cannot decode the kernel's symbol table: \(why)"
        case .noSymbol(let name): "the kernel has no symbol \(name)"
        case .types(let why): "cannot decode the kernel's BTF types: \(why)"
        case .noType(let name): "the kernel's BTF has no struct \(name)"
        case .noField(let type, let field): "struct \(type) has no field \(field)"
        case .memory(let fault, let what): "cannot read \(what): \(fault)"
        }
    }
}
