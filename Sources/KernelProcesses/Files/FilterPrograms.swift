import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct bpf_prog` and `struct sock_fprog_kern` (include/linux/filter.h): the kernel keeps the classic program that an eBPF one was made of
/// for SO_GET_FILTER, and with CONFIG_CHECKPOINT_RESTORE for PTRACE_SECCOMP_GET_FILTER.
struct FilterProgramLayout: Sendable {
    let original: Field
    let length: Field
    let instructions: Field

    init(_ types: TypeTable) throws(KernelError) {
        original = try types.structure("bpf_prog").field("orig_prog")
        let classic = try types.structure("sock_fprog_kern")
        length = try classic.field("len")
        instructions = try classic.field("filter")
    }
}

extension KernelReader {
    /// BPF_MAXINSNS.
    private static let instructionLimit = 4096
    /// sizeof(struct sock_filter).
    private static let instructionSize = 8

    /// The classic program behind a `struct bpf_prog`; nil: it was not made of one, or the kernel did not keep it.
    func classicProgram(of program: VirtualAddress, layout: FilterProgramLayout) throws(MemoryFault) -> [FilterInstruction]? {
        let original = try pointer(layout.original, of: program)
        guard !original.isNull else { return nil }
        let count = Int(try value(layout.length, of: original))
        guard (1...Self.instructionLimit).contains(count) else {
            throw MemoryFault(.damaged("BPF program of \(count) instructions"), at: original)
        }
        let bytes = try memory.bytes(
            at: pointer(layout.instructions, of: original), count: count * Self.instructionSize)
        return (0..<count).map { index in
            let base = index * Self.instructionSize
            return FilterInstruction(
                code: UInt16(bytes[base]) | UInt16(bytes[base + 1]) << 8, jumpIfTrue: bytes[base + 2],
                jumpIfFalse: bytes[base + 3],
                operand: (0..<4).reduce(0) { $0 | UInt32(bytes[base + 4 + $1]) << UInt32(8 * $1) })
        }
    }
}
