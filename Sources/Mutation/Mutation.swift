import GuestMemory

/// A change of the dead kernel's memory.
public struct Mutation: Sendable {
    public enum Kind: String, CaseIterable, Sendable {
        case bit, zero, ones, random, delta
        /// The value of another pointer that the walk has followed.
        case redirected
        /// A pointer to the place where it stands.
        case toItself = "to-itself"
        /// A pointer to what the walk has met before, in an object of the same kind.
        case cycle
        /// The whole frame.
        case zeroPage = "zero-page"
        case noisePage = "noise-page"
        /// Something that the kernel is learned from: BTF, symbols, VMCOREINFO.
        case learned
    }

    public var kind: Kind
    public var address: PhysicalAddress
    public var old: [UInt8]
    public var new: [UInt8]

    public init(kind: Kind, address: PhysicalAddress, old: [UInt8], new: [UInt8]) {
        self.kind = kind
        self.address = address
        self.old = old
        self.new = new
    }
}

/// Makes changed values.
public enum Mutator {
    /// The upper half of the address space, where the kernel's pointers lead to.
    public static func isKernelPointer(_ value: UInt64) -> Bool { value >> 47 == 0x1ffff || value >> 56 == 0xff }

    /// A kind that makes sense for a value of `size` bytes.
    static func kind(for value: UInt64, size: Int, random: inout SeededRandom) -> Mutation.Kind {
        switch random.below(100) {
        case 0: return .zeroPage
        case 1: return .noisePage
        default: break
        }
        if size == 8, isKernelPointer(value) {
            return [.bit, .zero, .random, .delta, .redirected, .redirected, .redirected, .toItself, .cycle, .cycle][
                random.below(10)]
        }
        return [.bit, .bit, .bit, .zero, .ones, .random, .delta, .delta][random.below(8)]
    }

    /// The new value of a piece.
    /// - Parameters:
    ///   - pointers: values that `redirected` takes from.
    ///   - earlier: values that `cycle` takes from.
    ///   - place: the piece's own virtual address.
    static func value(
        _ kind: Mutation.Kind, of old: UInt64, size: Int, pointers: [UInt64], earlier: [UInt64], place: UInt64,
        random: inout SeededRandom
    ) -> UInt64 {
        let mask: UInt64 = size == 8 ? .max : 1 << UInt64(size * 8) - 1
        let new: UInt64 =
            switch kind {
            case .bit: old ^ 1 << UInt64(random.below(size * 8))
            case .zero: 0
            case .ones: .max
            case .delta: old &+ [1, 2, 8, 64, 4096, .max, UInt64.max - 7, UInt64.max - 4095][random.below(8)]
            case .redirected: pointers.isEmpty ? 0 : pointers[random.below(pointers.count)]
            case .cycle: earlier.isEmpty ? place : earlier[random.below(earlier.count)]
            case .toItself: place
            default: random.next()
            }
        return new & mask
    }

    static func bytes(_ value: UInt64, size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
    }

    static func value(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
}
