import GuestMemory
import ProcessModel

/// System calls that a thread makes before it goes on where it was: for what only a process itself can set, and CRIU does not.
///
/// It is code in a page that the process gets (see ``RestartStub``), from which the thread begins. No instruction of it touches the stack or the flags, which it may
/// interrupt anywhere; the registers that it uses get their values back at its end. The result of a call is not looked at: what had been allowed once is allowed again,
/// and what seccomp or a limit would not let pass is not asked for.
struct Prologue: Sendable, Hashable {
    enum Step: Sendable, Hashable {
        case call(number: UInt64, arguments: [UInt64])
        /// A descriptor of a process (pidfd_open(2)) in place of what stands for it until then.
        case pidfd(process: Int32, flags: UInt64, descriptor: Int32, closesOnExec: Bool)
        /// Registers a descriptor with an epoll instance.
        case watch(EpollTarget, instance: Int32)
        /// Gives the thread its rights to protection keys (WRPKRU), which pkey_alloc(2) changes.
        case keyRights(UInt32)
        /// Lets those go on who ``await``.
        case tell
        /// Waits until another thread of the process has come to ``tell``.
        case await
        /// Gives the thread its signal mask, with which no handler runs before: one may leave for good (siglongjmp(3)), or reap whom a pidfd is for.
        case signalMask(UInt64)
    }

    var steps: [Step]

    static let pidfdOpen: UInt64 = 434
    static let dup3: UInt64 = 292
    static let close: UInt64 = 3
    static let epollControl: UInt64 = 233
    static let futex: UInt64 = 202
    static let prctl: UInt64 = 157
    static let signalMask: UInt64 = 14
    static let personality: UInt64 = 135
    static let mlockall: UInt64 = 151
    static let memoryBarrier: UInt64 = 324
    static let pkeyMprotect: UInt64 = 329
    static let pkeyAlloc: UInt64 = 330
    static let pkeyFree: UInt64 = 331

    /// What is asked of the kernel, as a seccomp filter sees it; nil: not known before.
    var calls: [(number: UInt64, arguments: [UInt64?])] {
        steps.flatMap { step -> [(UInt64, [UInt64?])] in
            switch step {
            case .call(let number, let arguments): [(number, arguments)]
            case .pidfd(let process, let flags, let descriptor, let closes):
                [
                    (Self.pidfdOpen, [UInt64(UInt32(bitPattern: process)), flags]),
                    (Self.dup3, [nil, UInt64(UInt32(bitPattern: descriptor)), closes ? 0o2000000 : 0]), (Self.close, [nil]),
                ]
            case .watch(let target, let instance):
                [
                    (
                        Self.epollControl,
                        [UInt64(UInt32(bitPattern: instance)), 1, UInt64(UInt32(bitPattern: target.descriptor)), nil]
                    )
                ]
            case .keyRights: []
            case .tell: [(Self.futex, [nil, 129, UInt64(Int32.max)])]
            case .await: [(Self.futex, [nil, 128, 0, 0])]
            // SIG_SETMASK
            case .signalMask: [(Self.signalMask, [2, nil, 0, 8])]
            }
        }
    }

    /// Whether the thread has to begin with all signals blocked.
    var setsSignalMask: Bool {
        steps.contains { if case .signalMask = $0 { true } else { false } }
    }
}

/// Instructions of x86-64 that change no flags.
struct PrologueCode {
    private(set) var bytes: [UInt8] = []

    /// movabs of 64 bits.
    enum Register: UInt8 {
        case ax = 0, cx, dx, si = 6, di, r8, r9, r10, r11
    }

    private static let arguments: [Register] = [.di, .si, .dx, .r10, .r8, .r9]
    /// The size of `struct epoll_event`, which is packed (include/uapi/linux/eventpoll.h).
    private static let eventBytes = 12

    /// - Parameters:
    ///   - address: where the code will be.
    ///   - flag: a word of the process that is zero until a thread has come to ``Prologue/Step/tell``.
    ///   - registers: with which the thread goes on then.
    /// - Returns: the code, and where in it the thread begins.
    static func make(_ prologue: Prologue, at address: VirtualAddress, flag: VirtualAddress, then registers: GeneralRegisters)
        -> (bytes: [UInt8], start: Int)
    {
        var code = PrologueCode()
        // What calls are given the address of comes first.
        var places: [Int: UInt64] = [:]
        for (index, step) in prologue.steps.enumerated() {
            let place = address.rawValue &+ UInt64(code.bytes.count)
            switch step {
            case .watch(let target, _): code.bytes += target.events.littleEndianBytes + target.data.littleEndianBytes
            case .signalMask(let mask): code.bytes += mask.littleEndianBytes
            default: continue
            }
            places[index] = place
        }
        let start = code.bytes.count
        for (index, step) in prologue.steps.enumerated() {
            switch step {
            case .call(let number, let arguments): code.call(number, arguments)
            case .pidfd(let process, let flags, let descriptor, let closes):
                code.call(Prologue.pidfdOpen, [UInt64(UInt32(bitPattern: process)), flags])
                // mov %rax, %rdi; mov %rax, %r8
                code.bytes += [0x48, 0x89, 0xc7, 0x49, 0x89, 0xc0]
                code.load(.si, UInt64(UInt32(bitPattern: descriptor)))
                code.load(.dx, closes ? 0o2000000 : 0)
                code.load(.ax, Prologue.dup3)
                code.makeCall()
                // mov %r8, %rdi
                code.bytes += [0x4c, 0x89, 0xc7]
                code.load(.ax, Prologue.close)
                code.makeCall()
            case .watch(let target, let instance):
                // EPOLL_CTL_ADD
                code.call(
                    Prologue.epollControl,
                    [
                        UInt64(UInt32(bitPattern: instance)), 1, UInt64(UInt32(bitPattern: target.descriptor)),
                        places[index] ?? 0,
                    ])
            case .keyRights(let rights):
                code.load(.cx, 0)
                code.load(.dx, 0)
                code.load(.ax, UInt64(rights))
                // wrpkru
                code.bytes += [0x0f, 0x01, 0xef]
            case .tell:
                code.load(.di, flag.rawValue)
                // movl $1, (%rdi)
                code.bytes += [0xc7, 0x07, 1, 0, 0, 0]
                // FUTEX_WAKE_PRIVATE
                code.call(Prologue.futex, [flag.rawValue, 129, UInt64(Int32.max)])
            case .await:
                let begin = code.bytes.count
                // FUTEX_WAIT_PRIVATE: at once, if the word is no longer zero.
                code.call(Prologue.futex, [flag.rawValue, 128, 0, 0])
                // mov (%rdi), %ecx; jrcxz back: a signal ends the wait too.
                code.bytes += [0x8b, 0x0f, 0xe3]
                code.bytes.append(UInt8(truncatingIfNeeded: begin - code.bytes.count - 1))
            case .signalMask: code.call(Prologue.signalMask, [2, places[index] ?? 0, 0, 8])
            }
        }
        let values: [(Register, UInt64)] = [
            (.ax, registers.ax), (.cx, registers.cx), (.dx, registers.dx), (.si, registers.si), (.di, registers.di),
            (.r8, registers.r8), (.r9, registers.r9), (.r10, registers.r10), (.r11, registers.r11),
        ]
        for (register, value) in values { code.load(register, value) }
        // jmp *0(%rip)
        code.bytes += [0xff, 0x25, 0, 0, 0, 0] + registers.ip.littleEndianBytes
        return (code.bytes, start)
    }

    private mutating func call(_ number: UInt64, _ arguments: [UInt64]) {
        for (register, value) in zip(Self.arguments, arguments) { load(register, value) }
        load(.ax, number)
        makeCall()
    }

    private mutating func load(_ register: Register, _ value: UInt64) {
        bytes += [register.rawValue < 8 ? 0x48 : 0x49, 0xb8 | register.rawValue & 7] + value.littleEndianBytes
    }

    private mutating func makeCall() { bytes += [0x0f, 0x05] }
}
