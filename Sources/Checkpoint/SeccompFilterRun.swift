import ProcessModel

/// What a seccomp filter says to a call, found by running its program (classic BPF, kernel/bpf/core.c and kernel/seccomp.c).
enum SeccompFilterRun {
    /// SECCOMP_RET_ALLOW and SECCOMP_RET_LOG.
    private static let allow: UInt32 = 0x7fff_0000
    private static let log: UInt32 = 0x7ffc_0000
    private static let actionMask: UInt32 = 0xffff_0000
    /// AUDIT_ARCH_X86_64.
    private static let architecture: UInt32 = 0xc000_003e
    /// BPF_MAXINSNS; jumps lead forward only.
    private static let instructionLimit = 4096

    /// Whether a thread may make a call. An argument that is nil is tried as 0, which no filter that asks for it will take for every number: the answer is then no better
    /// than that, so those must be arguments that filters do not look at.
    static func allows(_ number: UInt64, _ arguments: [UInt64?], ip: UInt64, for thread: DeadThread) -> Bool {
        switch thread.seccomp {
        case .off: true
        case .strict, .other: false
        case .filters(let filters):
            filters.allSatisfy { filter in
                guard let program = filter.program else { return false }
                let result = run(program, data: data(number, arguments, ip: ip))
                return result.map { [allow, log].contains($0 & actionMask) } ?? false
            }
        }
    }

    /// `struct seccomp_data`, as words of 32 bits.
    private static func data(_ number: UInt64, _ arguments: [UInt64?], ip: UInt64) -> [UInt32] {
        func halves(_ value: UInt64) -> [UInt32] {
            [UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: value >> 32)]
        }
        let all = (0..<6).map { $0 < arguments.count ? arguments[$0] ?? 0 : 0 }
        return [UInt32(truncatingIfNeeded: number), architecture] + halves(ip) + all.flatMap(halves)
    }

    /// - Returns: what the program returns; nil: it is none that seccomp takes.
    static func run(_ program: [FilterInstruction], data: [UInt32]) -> UInt32? {
        var accumulator: UInt32 = 0
        var index: UInt32 = 0
        var memory = [UInt32](repeating: 0, count: 16)
        var place = 0
        guard program.count <= instructionLimit else { return nil }
        while program.indices.contains(place) {
            let instruction = program[place]
            let operand = instruction.operand
            place += 1
            /// The word at an offset, or the place of the scratch memory.
            func word(_ words: [UInt32], _ at: Int) -> UInt32? { words.indices.contains(at) ? words[at] : nil }
            func compare(_ isTrue: Bool) { place += Int(isTrue ? instruction.jumpIfTrue : instruction.jumpIfFalse) }
            let source = instruction.code & 0x08 == 0 ? operand : index
            switch instruction.code {
            // BPF_LD | BPF_W | BPF_ABS, with IMM, LEN and MEM, and the same of BPF_LDX.
            case 0x20:
                guard operand % 4 == 0, let value = word(data, Int(operand / 4)) else { return nil }
                accumulator = value
            case 0x00: accumulator = operand
            case 0x01: index = operand
            case 0x80: accumulator = UInt32(data.count * 4)
            case 0x81: index = UInt32(data.count * 4)
            case 0x60, 0x61:
                guard let value = word(memory, Int(operand)) else { return nil }
                if instruction.code == 0x60 { accumulator = value } else { index = value }
            // BPF_ST, BPF_STX.
            case 0x02, 0x03:
                guard memory.indices.contains(Int(operand)) else { return nil }
                memory[Int(operand)] = instruction.code == 0x02 ? accumulator : index
            // BPF_JMP: JA, JEQ, JGT, JGE, JSET.
            case 0x05: place += Int(operand)
            case 0x15, 0x1d: compare(accumulator == source)
            case 0x25, 0x2d: compare(accumulator > source)
            case 0x35, 0x3d: compare(accumulator >= source)
            case 0x45, 0x4d: compare(accumulator & source != 0)
            // BPF_ALU: ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, XOR.
            case 0x04, 0x0c: accumulator &+= source
            case 0x14, 0x1c: accumulator &-= source
            case 0x24, 0x2c: accumulator &*= source
            case 0x34, 0x3c:
                guard source != 0 else { return 0 }
                accumulator /= source
            case 0x44, 0x4c: accumulator |= source
            case 0x54, 0x5c: accumulator &= source
            case 0x64, 0x6c: accumulator = accumulator &<< source
            case 0x74, 0x7c: accumulator = accumulator &>> source
            case 0x84: accumulator = 0 &- accumulator
            case 0xa4, 0xac: accumulator ^= source
            // BPF_MISC: TAX, TXA.
            case 0x07: index = accumulator
            case 0x87: accumulator = index
            // BPF_RET | BPF_K, BPF_RET | BPF_A.
            case 0x06: return operand
            case 0x16: return accumulator
            default: return nil
            }
        }
        return nil
    }
}
