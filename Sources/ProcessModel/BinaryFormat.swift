/// A format of programs and who executes it (`Node` of fs/binfmt_misc.c).
public struct BinaryFormat: Sendable, Hashable {
    public enum Recognition: Sendable, Hashable {
        /// What the file's name ends with.
        case fileExtension([UInt8])
        /// What it has at an offset, of which the bits of the mask count; an empty mask: all.
        case magic([UInt8], mask: [UInt8], offset: Int32)
    }

    public var name: KernelString
    public var recognition: Recognition
    public var interpreter: KernelString
    /// P, O, C and F of Documentation/admin-guide/binfmt-misc.rst.
    public var flags: String
    public var isEnabled: Bool

    public init(
        name: KernelString, recognition: Recognition, interpreter: KernelString, flags: String = "", isEnabled: Bool = true
    ) {
        self.name = name
        self.recognition = recognition
        self.interpreter = interpreter
        self.flags = flags
        self.isEnabled = isEnabled
    }

    /// MAX_REGISTER_LENGTH
    private static let longest = 1920

    /// What is written to `register`; nil: the kernel would not take it.
    public var registration: [UInt8]? {
        var fields: [[UInt8]] = [name.bytes]
        switch recognition {
        case .fileExtension(let text): fields += [Array("E".utf8), [], text, []]
        case .magic(let magic, let mask, let offset):
            fields += [Array("M".utf8), Array("\(offset)".utf8), Self.escaped(magic), Self.escaped(mask)]
        }
        fields += [interpreter.bytes, Array(flags.utf8)]
        let used = Set(fields.joined())
        guard let delimiter = ":|;,~!^+=".utf8.first(where: { !used.contains($0) }), !name.bytes.isEmpty,
            !used.contains(0)
        else { return nil }
        let text = fields.reduce(into: []) { $0 += [delimiter] + $1 }
        return text.count <= Self.longest ? text : nil
    }

    /// As `\xHH`, which the kernel reads whatever the byte is.
    private static func escaped(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return bytes.flatMap { [UInt8(ascii: "\\"), UInt8(ascii: "x"), digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }
}
