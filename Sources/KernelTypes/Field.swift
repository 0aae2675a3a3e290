/// Where a field lies in a kernel structure, as BTF tells.
public struct Field: Hashable, Sendable {
    /// Bytes from the structure's start. For a bit field: of the bytes that hold it.
    public var offset: Int
    /// Bytes of the whole field; for an array, of all its elements.
    public var size: Int
    /// Elements of an array, 1 for everything else.
    public var count: Int
    /// For a bit field: its first bit counted from `offset`, and how many bits it has; nil for whole bytes.
    public var bits: Bits?

    public struct Bits: Hashable, Sendable {
        public var first: Int
        public var count: Int

        public init(first: Int, count: Int) {
            self.first = first
            self.count = count
        }
    }

    public init(offset: Int, size: Int, count: Int = 1, bits: Bits? = nil) {
        self.offset = offset
        self.size = size
        self.count = count
        self.bits = bits
    }

    /// Bytes of one element.
    public var elementSize: Int { count > 0 ? size / count : size }

    /// The element at `index` of an array.
    public func element(_ index: Int) -> Field { Field(offset: offset + index * elementSize, size: elementSize) }
}
