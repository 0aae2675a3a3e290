import GuestMemory
import ProcessModel

/// A page of code, added to a process, from which threads make their interrupted calls again: with the time that remained, for the part of a
/// buffer that was not done, or without a flag.
///
/// Rewriting the argument in the program's own memory or register would be seen by it: a loop that sleeps by a constant `timespec` would sleep
/// shorter for ever. So the thread resumes in the stub, which makes the call, puts the argument registers back and jumps behind the original call:
///
///     syscall                      0f 05
///     movabs $original, %reg       48 bf | 48 be | 48 ba | 49 ba, imm64
///     jmp *0(%rip)                 ff 25 00 00 00 00
///     .quad return address
///     (at 32) struct timespec
///
/// The rest of a transfer adds what was done to the result, and makes it the result where the rest fails, as the kernel would have:
///
///     syscall                      0f 05
///     test %rax, %rax              48 85 c0
///     js 1f                        78 08
///     add $done, %rax              48 05, imm32
///     jmp 2f                       eb 05
///     1: mov $done, %eax           b8, imm32
///     2: movabs $original, %rsi    48 be, imm64
///     movabs $original, %rdx       48 ba, imm64
///     jmp *0(%rip); .quad return address
///
/// syscall may clobber rcx and r11 anyway, and who makes one expects nothing of the arithmetic flags; nothing else differs.
struct RestartStub: Sendable {
    static let slotSize: UInt64 = 64
    static let pageSize: UInt64 = 4096
    /// How large one may become.
    static let byteLimit: UInt64 = 1024 * pageSize

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
        var code: [UInt8] = [0x0f, 0x05]
        var timespec: [UInt8] = []
        switch call.change {
        case .milliseconds(let milliseconds, let argument):
            code += Self.replace(argument, of: &registers, by: milliseconds)
        case .timespec(let nanoseconds, let argument):
            code += Self.replace(argument, of: &registers, by: slot.rawValue &+ Self.timespecOffset)
            timespec = (nanoseconds / 1_000_000_000).littleEndianBytes + (nanoseconds % 1_000_000_000).littleEndianBytes
        case .flags(let flags, let argument): code += Self.replace(argument, of: &registers, by: flags)
        case .rest(let moved):
            // No call moves more than MAX_RW_COUNT, which is below 2^31.
            let done = UInt32(clamping: moved).littleEndianBytes
            code += [0x48, 0x85, 0xc0, 0x78, 0x08, 0x48, 0x05] + done + [0xeb, 0x05, 0xb8] + done
            code += [0x48, 0xbe] + registers.si.littleEndianBytes + [0x48, 0xba] + registers.dx.littleEndianBytes
            registers.si &+= moved
            registers.dx &-= moved
        }
        code += [0xff, 0x25, 0, 0, 0, 0] + registers.ip.littleEndianBytes
        if !timespec.isEmpty {
            code += Array(repeating: 0xcc, count: Int(Self.timespecOffset) - code.count) + timespec
        }
        code += Array(repeating: 0xcc, count: Int(Self.slotSize) - code.count)
        bytes += code
        registers.ip = slot.rawValue
        registers.ax = call.number
        registers.origAX = .max
    }

    /// Adds what a thread does before it goes on, and points its registers at it.
    mutating func begin(_ prologue: Prologue, flag: VirtualAddress, registers: inout GeneralRegisters) {
        let place = VirtualAddress(rawValue: address.rawValue &+ UInt64(bytes.count))
        let code = PrologueCode.make(prologue, at: place, flag: flag, then: registers)
        bytes +=
            code.bytes
            + Array(repeating: 0xcc, count: (Int(Self.slotSize) - code.bytes.count % Int(Self.slotSize)) % Int(Self.slotSize))
        registers.ip = place.rawValue &+ UInt64(code.start)
        registers.origAX = .max
    }

    private static let timespecOffset: UInt64 = 32

    /// Gives an argument another value.
    /// - Returns: the instruction that puts the original back.
    private static func replace(
        _ argument: ResumedCall.Argument, of registers: inout GeneralRegisters, by value: UInt64
    ) -> [UInt8] {
        switch argument {
        case .di:
            defer { registers.di = value }
            return [0x48, 0xbf] + registers.di.littleEndianBytes
        case .si:
            defer { registers.si = value }
            return [0x48, 0xbe] + registers.si.littleEndianBytes
        case .dx:
            defer { registers.dx = value }
            return [0x48, 0xba] + registers.dx.littleEndianBytes
        case .r10:
            defer { registers.r10 = value }
            return [0x49, 0xba] + registers.r10.littleEndianBytes
        }
    }

    /// What a stub needs, in whole pages.
    static func byteCount(calls: Int, _ prologues: [Prologue]) -> UInt64 {
        var stub = RestartStub(address: VirtualAddress(rawValue: 0))
        var registers = GeneralRegisters()
        for prologue in prologues { stub.begin(prologue, flag: stub.address, registers: &registers) }
        let bytes = UInt64(stub.bytes.count) + UInt64(calls) * slotSize
        return (bytes + pageSize - 1) / pageSize * pageSize
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
