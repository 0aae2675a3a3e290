/// A byte address in the guest's physical memory, as the guest sees it (for PVH and HVM guests: GFN × 4096 + offset).
public struct PhysicalAddress: RawRepresentable, Hashable, Comparable, Sendable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// The frame that holds this byte.
    public var frame: FrameNumber { FrameNumber(rawValue >> 12) }
    /// Where in its frame this byte is, 0…4095.
    public var offsetInFrame: Int { Int(rawValue & 0xfff) }

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// A byte address in a virtual address space of the guest: its kernel's, or one of its processes'.
public struct VirtualAddress: RawRepresentable, Hashable, Comparable, Sendable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    public static let null = VirtualAddress(0)
    public var isNull: Bool { rawValue == 0 }
    /// The address of the page that holds this byte.
    public var page: VirtualAddress { VirtualAddress(rawValue & ~0xfff) }
    public var offsetInPage: Int { Int(rawValue & 0xfff) }
    /// Whether the address lies in the upper half, where x86-64 Linux keeps its kernel.
    public var isKernel: Bool { rawValue >> 63 == 1 }

    /// Addition wraps: what is added comes from a dead kernel, and a wrapped address faults when it is read.
    public static func + (left: Self, right: Int) -> Self { Self(left.rawValue &+ UInt64(bitPattern: Int64(right))) }
    public static func - (left: Self, right: Int) -> Self { Self(left.rawValue &- UInt64(bitPattern: Int64(right))) }
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// The number of a 4 KiB frame of guest physical memory (Xen: GFN; Linux: PFN).
public struct FrameNumber: RawRepresentable, Hashable, Comparable, Sendable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// Bytes in a frame.
    public static let size = 4096
    public var address: PhysicalAddress { PhysicalAddress(rawValue << 12) }

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

extension PhysicalAddress: CustomStringConvertible {
    public var description: String { "physical 0x" + String(rawValue, radix: 16) }
}

extension VirtualAddress: CustomStringConvertible {
    public var description: String { "0x" + String(rawValue, radix: 16) }
}

extension FrameNumber: CustomStringConvertible {
    public var description: String { "frame 0x" + String(rawValue, radix: 16) }
}
