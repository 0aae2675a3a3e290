import GuestMemory
import KernelProcesses

/// Who of a walk depends on a piece of memory: the groups by their number, and the catch-up of files.
public struct Readers: OptionSet, Hashable, Sendable {
    public var rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The catch-up of files, beside the groups.
    public static let files = Readers(rawValue: 1 << 63)
    /// Groups that can be told apart; the ones above share the last number.
    static let groupLimit = 62

    public static func group(_ number: Int) -> Readers { Readers(rawValue: 1 << UInt64(min(number, groupLimit))) }
    public static let everyGroup = Readers(rawValue: 1 << 63 - 1)

    public func contains(group number: Int) -> Bool { !isDisjoint(with: .group(number)) }
}

/// A piece of the dead kernel's memory that a walk reads as one value.
public struct ReadPiece: Hashable, Sendable {
    public var physical: PhysicalAddress
    /// Where the walk read it; null for entries of page tables, which are read by their physical address.
    public var virtual: VirtualAddress
    /// 1…8 bytes, inside one frame.
    public var size: Int
    public var readers: Readers

    public init(physical: PhysicalAddress, virtual: VirtualAddress, size: Int, readers: Readers) {
        self.physical = physical
        self.virtual = virtual
        self.size = size
        self.readers = readers
    }
}

/// Collects the pieces that are read of a kernel's memory.
final class ReadRecorder {
    private(set) var sizes: [UInt64: UInt8] = [:]

    /// What an observer of `VirtualMemory` does.
    func note(_ address: VirtualAddress, _ count: Int) {
        var position = address.rawValue
        var rest = count
        // Longer pieces (names, queued bytes, masks) are cut along words.
        while rest > 0 {
            let step = min(rest, 8 - Int(position & 7))
            if sizes[position, default: 0] < UInt8(step) { sizes[position] = UInt8(step) }
            position &+= UInt64(step)
            rest -= step
        }
    }
}

extension PageTables {
    /// The physical addresses of all entries in use below the top of user space, tables first met first.
    /// - Parameter limit: the most that are listed.
    func userEntries(in source: any FrameSource, limit: Int) -> [PhysicalAddress] {
        var found: [PhysicalAddress] = []
        var tables: [(PhysicalAddress, Int)] = [(PhysicalAddress(root.rawValue & ~0xfff), levels)]
        while let (table, level) = tables.popLast() {
            // The lower half of the top table is the process's.
            for index in 0..<(level == levels ? 256 : 512) {
                let address = PhysicalAddress(table.rawValue &+ UInt64(index) &* 8)
                var raw: UInt64 = 0
                // The buffer is the 8 bytes of `raw`, and an aligned entry never crosses a frame.
                let isThere = unsafe withUnsafeMutableBytes(of: &raw) { unsafe (try? source.read(address, into: $0)) != nil }
                raw = source.ownEntry(raw)
                guard isThere, raw != 0 else { continue }
                guard found.count < limit else { return found }
                found.append(address)
                if level > 1, raw & 0x81 == 1 { tables.append((PhysicalAddress(raw & 0x000f_ffff_ffff_f000), level - 1)) }
            }
        }
        return found
    }
}
