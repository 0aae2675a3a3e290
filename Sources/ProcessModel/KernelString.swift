/// Bytes that the kernel treats as a name: a path, a `comm`, a socket address. Linux gives them no encoding, so they are kept as they are.
public struct KernelString: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
    /// The bytes, without a terminating NUL.
    public var bytes: [UInt8]

    public init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    public init(_ text: String) {
        self.bytes = Array(text.utf8)
    }

    public init(stringLiteral value: String) {
        self.init(value)
    }

    /// For people: bytes that are not UTF-8 are shown as U+FFFD.
    public var description: String { String(decoding: bytes, as: UTF8.self) }

    /// Whether the bytes are UTF-8, so that `description` lost nothing.
    public var isValidUTF8: Bool { String(validating: bytes, as: UTF8.self) != nil }

    public var isEmpty: Bool { bytes.isEmpty }

    /// Whether, as a path, it is that of a place or of something in it.
    public func isPath(atOrBelow place: KernelString) -> Bool {
        bytes.starts(with: place.bytes)
            && (bytes.count == place.bytes.count || bytes[place.bytes.count] == UInt8(ascii: "/"))
    }
}
