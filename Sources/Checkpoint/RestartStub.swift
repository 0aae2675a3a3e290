import GuestMemory
import ProcessModel

/// A page of code, added to a process, from which threads make their interrupted calls again with the time that remained.
///
/// Rewriting the argument in the program's own memory or register would be seen by it: a loop that sleeps by a constant `timespec` would sleep
/// shorter for ever. So the thread resumes in the stub, which makes the call, puts the argument register back and jumps behind the original call:
///
///     syscall                      0f 05
///     movabs $original, %reg       48 bf | 48 ba | 49 ba, imm64
///     jmp *0(%rip)                 ff 25 00 00 00 00
///     .quad return address
///     (at 32) struct timespec
///
/// syscall may clobber rcx and r11 anyway; nothing else differs.
struct RestartStub: Sendable {
    static let slotSize: UInt64 = 64
    static let pageSize: UInt64 = 4096
    /// Threads with such a call that one stub serves: 64 pages.
    static let slotLimit = Int(64 * pageSize / slotSize)

    /// Start of the stub; a multiple of the page size.
    let address: VirtualAddress
    private(set) var bytes: [UInt8] = []

    init(address: VirtualAddress) {
        self.address = address
    }

    var byteCount: UInt64 { (UInt64(bytes.count) + Self.pageSize - 1) / Self.pageSize * Self.pageSize }

    /// The pages, the last filled with `int3`.
    var pages: [UInt8] { bytes + Array(repeating: 0xcc, count: Int(byteCount) - bytes.count) }

    /// Adds a slot for one thread and points its registers at it.
    mutating func resume(_ call: ResumedCall, registers: inout GeneralRegisters) {
        let slot = VirtualAddress(rawValue: address.rawValue &+ UInt64(bytes.count))
        let timespecAddress = slot.rawValue &+ 32
        let original: UInt64
        let opcode: [UInt8]
        let value: UInt64
        var timespec: [UInt8] = Array(repeating: 0, count: 16)
        switch call.value {
        case .milliseconds(let milliseconds): value = milliseconds
        case .timespec(let nanoseconds):
            value = timespecAddress
            timespec = (nanoseconds / 1_000_000_000).littleEndianBytes + (nanoseconds % 1_000_000_000).littleEndianBytes
        }
        switch call.argument {
        case .di:
            opcode = [0x48, 0xbf]
            original = registers.di
            registers.di = value
        case .dx:
            opcode = [0x48, 0xba]
            original = registers.dx
            registers.dx = value
        case .r10:
            opcode = [0x49, 0xba]
            original = registers.r10
            registers.r10 = value
        }
        var code: [UInt8] = [0x0f, 0x05] + opcode + original.littleEndianBytes
        code += [0xff, 0x25, 0, 0, 0, 0] + registers.ip.littleEndianBytes
        code += Array(repeating: 0xcc, count: 32 - code.count)
        code += timespec
        code += Array(repeating: 0xcc, count: Int(Self.slotSize) - code.count)
        bytes += code
        registers.ip = slot.rawValue
        registers.ax = call.number
        registers.origAX = .max
    }

    /// A place for a stub of `byteCount` bytes between the mappings, away from stacks that grow; nil: none.
    static func place(among mappings: [Mapping], byteCount: UInt64) -> VirtualAddress? {
        /// The end of user space with 4-level paging, less its guard page.
        let top: UInt64 = 0x7fff_ffff_f000
        let distance: UInt64 = 1 << 20
        var ceiling = top
        for mapping in mappings.sorted(by: { $0.start > $1.start }) {
            if mapping.end.rawValue <= ceiling, ceiling - mapping.end.rawValue >= byteCount + 2 * distance {
                return VirtualAddress(rawValue: (mapping.end.rawValue + distance) & ~(pageSize - 1))
            }
            // Below a stack a gap is its room to grow: leave 64 MiB of it.
            let reserve: UInt64 = mapping.growsDown ? 64 << 20 : 0
            ceiling = min(ceiling, mapping.start.rawValue > reserve ? mapping.start.rawValue - reserve : 0)
        }
        return nil
    }
}
