/// Xen's save records of a PVH or HVM domain, as `xc_domain_hvm_getcontext` gives them: the dead vCPUs' registers.
///
/// Mirrors xen/include/public/hvm/save.h and arch-x86/hvm/save.h: records of a descriptor {type u16, instance u16,
/// length u32} and `length` bytes, up to the record END. A pure parser over bytes, so that a minor needs no control
/// interface; every length is checked, and records it does not know are passed over.
public enum HVMContext {
    /// Why the records cannot be used.
    public struct Damage: Error, Hashable, Sendable, CustomStringConvertible {
        public var offset: Int
        public var reason: String
        public var description: String { "damaged vCPU context at byte \(offset): \(reason)" }
    }

    private static let endType = 0
    private static let cpuType = 2
    private static let xsaveType = 16

    /// The contexts by vCPU number. A vCPU that was never started has a record too, with its registers at reset.
    public static func parse(_ blob: [UInt8]) throws(Damage) -> [VCPUContext] {
        var contexts: [Int: VCPUContext] = [:]
        var extended: [Int: [Int: [UInt8]]] = [:]
        var present: [Int: UInt64] = [:]
        var position = 0
        while true {
            guard let type = word(blob, position, 2), let instance = word(blob, position + 2, 2),
                let length = word(blob, position + 4, 4)
            else { throw Damage(offset: position, reason: "no END record") }
            let start = position + 8
            guard length <= UInt64(blob.count - start) else {
                throw Damage(offset: position, reason: "record \(type) of \(length) bytes goes past the end")
            }
            let record = blob[start..<start + Int(length)]
            switch Int(type) {
            case endType:
                return contexts.values.sorted { $0.number < $1.number }.map { context in
                    var whole = context
                    whole.extended = extended[context.number] ?? [:]
                    whole.legacyComponents = (present[context.number] ?? 3) & 3
                    return whole
                }
            case cpuType:
                guard let context = registers(Array(record), number: Int(instance)) else {
                    throw Damage(offset: position, reason: "CPU record of only \(length) bytes")
                }
                contexts[Int(instance)] = context
            case xsaveType:
                extended[Int(instance)] = components(Array(record))
                present[Int(instance)] = presentComponents(Array(record))
            default:
                break
            }
            position = start + Int(length)
        }
    }

    /// Byte offsets in `struct hvm_hw_cpu`.
    private enum CPU {
        static let fxsave = 0
        /// r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di.
        static let general = [632, 624, 616, 608, 544, 520, 600, 592, 584, 576, 512, 528, 536, 552, 560]
        static let flags = 648
        static let codeSegment = 736
        static let stackSegment = 756
        static let stackPointer = 568
        static let instructionPointer = 640
        static let pageTableRoot = 672
        static let fsBase = 832
        static let gsBase = 840
        static let shadowGSBase = 944
        static let end = 952
    }

    private static func registers(_ record: [UInt8], number: Int) -> VCPUContext? {
        guard record.count >= CPU.end else { return nil }
        func value(_ offset: Int) -> UInt64 { word(record, offset, 8) ?? 0 }
        var context = VCPUContext(
            number: number, instructionPointer: value(CPU.instructionPointer), stackPointer: value(CPU.stackPointer),
            pageTableRoot: value(CPU.pageTableRoot), fsBase: value(CPU.fsBase), gsBase: value(CPU.gsBase),
            shadowGSBase: value(CPU.shadowGSBase), fxsave: Array(record[CPU.fxsave..<CPU.fxsave + 512]))
        context.general = CPU.general.map(value)
        context.flags = value(CPU.flags)
        context.codeSegment = word(record, CPU.codeSegment, 4) ?? 0
        context.stackSegment = word(record, CPU.stackSegment, 4) ?? 0
        return context
    }

    /// The XSAVE components beyond x87 and SSE, at the offsets of the standard format, which Xen always gives
    /// (Intel SDM volume 1, 13.4.3; AMD has the same up to number 9).
    private static func components(_ record: [UInt8]) -> [Int: [UInt8]] {
        /// Number, offset in the area, size.
        let known = [(2, 576, 256), (5, 1088, 64), (6, 1152, 512), (7, 1664, 1024), (9, 2688, 8)]
        guard let present = presentComponents(record) else { return [:] }
        var found: [Int: [UInt8]] = [:]
        for (number, offset, size) in known where present >> UInt64(number) & 1 == 1 {
            guard area + offset + size <= record.count else { continue }
            found[number] = Array(record[area + offset..<area + offset + size])
        }
        return found
    }

    /// `struct hvm_hw_cpu_xsave` begins with three words before the XSAVE area.
    private static let area = 24

    /// XSTATE_BV.
    private static func presentComponents(_ record: [UInt8]) -> UInt64? { word(record, area + 512, 8) }

    /// A little-endian number of `size` bytes; nil past the end.
    private static func word(_ bytes: [UInt8], _ offset: Int, _ size: Int) -> UInt64? {
        guard offset >= 0, offset <= bytes.count - size else { return nil }
        var value: UInt64 = 0
        for index in 0..<size { value |= UInt64(bytes[offset + index]) << UInt64(index * 8) }
        return value
    }
}
