import GuestMemory
import SyntheticMemory

/// A compressed symbol table as scripts/kallsyms.c writes it, put together for tests.
struct SyntheticSymbols {
    enum Form {
        /// Before 6.0: offsets, relative_base, num_syms, names, markers, token_table, token_index; named by nothing.
        case searched
        /// 7.x: num_syms, names, markers, token_table, token_index, offsets that count from themselves; named by VMCOREINFO.
        case placeRelative
    }

    static let text = VirtualAddress(0xffff_ffff_8100_0000)
    static let start = VirtualAddress(0xffff_ffff_8120_0ff8)
    static let percpu: UInt64 = 0x1_4040

    let form: Form
    private(set) var bytes: [UInt8] = []
    private(set) var parts: [String: VirtualAddress] = [:]

    /// The names: a variable of each CPU, `_stext`, and then `count` functions, 16 bytes each.
    init(_ form: Form, functions count: Int) {
        self.form = form
        let names = ["Acpu_variable", "T_stext"] + (0..<count).map { "tfunction_\($0)" }
        let addresses =
            [form == .searched ? Self.percpu : Self.text.rawValue + 0x50_0000, Self.text.rawValue]
            + (0..<count).map { Self.text.rawValue + UInt64($0 + 1) * 16 }
        switch form {
        case .searched:
            part("offsets")
            for address in addresses {
                add(address == Self.percpu ? UInt32(address) : UInt32(truncatingIfNeeded: Self.text.rawValue &- 1 &- address))
            }
            part("relative_base")
            add(Self.text.rawValue)
            part("num_syms")
            add(UInt32(names.count))
            addNames(names)
            addTokens()
        case .placeRelative:
            part("num_syms")
            add(UInt32(names.count))
            addNames(names)
            addTokens()
            part("offsets")
            for address in addresses { add(UInt32(truncatingIfNeeded: address &- end.rawValue)) }
        }
        align()
    }

    private var end: VirtualAddress { Self.start + bytes.count }

    /// Maps the table, and one page of code, into a memory.
    func memory(_ change: (inout [UInt8]) -> Void = { _ in }) -> SyntheticMemory {
        var bytes = bytes
        change(&bytes)
        let memory = SyntheticMemory()
        memory.place([0], at: Self.text)
        memory.place(
            stride(from: 0, to: bytes.count, by: 8).map { at in
                bytes[at..<at + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
            }, at: Self.start)
        return memory
    }

    /// What VMCOREINFO says of this kernel.
    var information: String {
        var lines = ["OSRELEASE=synthetic", "SYMBOL(_stext)=\(String(Self.text.rawValue, radix: 16))"]
        if form == .placeRelative {
            lines += parts.map { "SYMBOL(kallsyms_\($0.key))=\(String($0.value.rawValue, radix: 16))" }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private mutating func align() { while bytes.count % 8 != 0 { bytes.append(0) } }

    private mutating func part(_ name: String) {
        align()
        parts[name] = end
    }

    private mutating func add<Value: FixedWidthInteger>(_ value: Value) {
        for byte in 0..<Value.bitWidth / 8 { bytes.append(UInt8(truncatingIfNeeded: value >> Value(byte * 8))) }
    }

    /// Token 1 stands for a piece of many names, and every other for its own character, as far as names have it.
    private static let piece = "function_"
    private static func token(_ code: Int) -> String {
        switch code {
        case 1: piece
        case 0x20..<0x7f: String(UnicodeScalar(UInt8(code)))
        default: ""
        }
    }

    private mutating func addNames(_ names: [String]) {
        part("names")
        let first = bytes.count
        var markers: [UInt32] = []
        for (index, name) in names.enumerated() {
            if index % 256 == 0 { markers.append(UInt32(bytes.count - first)) }
            let characters = Array(name.utf8)
            let piece = Array(Self.piece.utf8)
            let code =
                characters.dropFirst().starts(with: piece)
                ? [characters[0], 1] + characters.dropFirst(1 + piece.count) : characters
            bytes.append(UInt8(code.count))
            bytes += code
        }
        part("markers")
        for marker in markers { add(marker) }
    }

    private mutating func addTokens() {
        part("token_table")
        let first = bytes.count
        var index: [UInt16] = []
        for code in 0..<256 {
            index.append(UInt16(bytes.count - first))
            bytes += Array(Self.token(code).utf8) + [0]
        }
        part("token_index")
        for offset in index { add(offset) }
    }
}
