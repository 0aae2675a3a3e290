import ProcessModel

/// `thread_info_x86` of images/core-x86.proto.
enum RegistersImage {
    static func message(_ registers: GeneralRegisters, _ floatingPoint: FloatingPointState, clearTID: UInt64) -> ProtobufMessage
    {
        ProtobufMessage { info in
            info.unsigned(1, clearTID)
            info.message(2, general(registers))
            info.message(3, floatingPointMessage(floatingPoint))
        }
    }

    /// `user_x86_regs_entry`: the fields 1…27 in this order.
    private static func general(_ registers: GeneralRegisters) -> ProtobufMessage {
        let values: [UInt64] = [
            registers.r15, registers.r14, registers.r13, registers.r12, registers.bp, registers.bx, registers.r11,
            registers.r10,
            registers.r9, registers.r8, registers.ax, registers.cx, registers.dx, registers.si, registers.di, registers.origAX,
            registers.ip, registers.cs, registers.flags, registers.sp, registers.ss, registers.fsBase, registers.gsBase,
            registers.ds,
            registers.es, registers.fs, registers.gs,
        ]
        return ProtobufMessage { entry in
            for (index, value) in values.enumerated() { entry.unsigned(UInt32(index + 1), value) }
            // USER_X86_REGS_MODE NATIVE
            entry.unsigned(28, UInt32(1))
        }
    }

    /// `user_x86_fpregs_entry`, from the layout of `struct fxregs_state`.
    private static func floatingPointMessage(_ state: FloatingPointState) -> ProtobufMessage {
        let legacy = LittleEndianBytes(state.legacy)
        return ProtobufMessage { entry in
            entry.unsigned(1, legacy.uint16(0))
            entry.unsigned(2, legacy.uint16(2))
            entry.unsigned(3, legacy.uint16(4))
            entry.unsigned(4, legacy.uint16(6))
            entry.unsigned(5, legacy.uint64(8))
            entry.unsigned(6, legacy.uint64(16))
            entry.unsigned(7, legacy.uint32(24))
            entry.unsigned(8, legacy.uint32(28))
            entry.repeated(9, (0..<32).map { legacy.uint32(32 + 4 * $0) })
            entry.repeated(10, (0..<64).map { legacy.uint32(160 + 4 * $0) })
            if !state.components.isEmpty { entry.message(13, extended(state)) }
        }
    }

    /// Words that CRIU expects of a component (compel's asm/fpu.h): field, size of a word in bytes, bytes of the component.
    private static let layouts: [(component: UInt8, field: UInt32, wordSize: Int, size: Int)] = [
        (2, 2, 4, 256), (3, 3, 8, 64), (4, 4, 8, 64), (5, 5, 8, 64), (6, 6, 8, 512), (7, 7, 8, 1024), (9, 8, 4, 8),
    ]

    /// Components that `user_x86_xsave_entry` has a place for.
    static let knownComponents: UInt64 = layouts.reduce(3) { $0 | 1 << UInt64($1.component) }

    /// `user_x86_xsave_entry`. CRIU demands each component that the CPU has, or none of it: those that are in their initial state are written as such
    /// as soon as one is present. That is zeros for all of them.
    private static func extended(_ state: FloatingPointState) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, state.presentComponents | 3)
            for layout in layouts {
                guard let bytes = state.components[layout.component] else { continue }
                let words = LittleEndianBytes(bytes)
                for offset in stride(from: 0, to: layout.size, by: layout.wordSize) {
                    let value = layout.wordSize == 8 ? words.uint64(offset) : UInt64(words.uint32(offset))
                    entry.unsigned(layout.field, value)
                }
            }
        }
    }
}
