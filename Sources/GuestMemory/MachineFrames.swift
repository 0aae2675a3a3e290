/// The two numbers of each frame of a PV guest: its own (PFN), by which its kernel knows memory, and the one of the machine (MFN), which its page tables
/// have, because Xen lets the CPU use them as they are.
///
/// What the guest says of it is believed as little as the rest of its memory: a number that is not the guest's maps nothing, for Xen, or the dump, has no such
/// frame of this guest.
public final class MachineFrames: Sendable {
    /// The MFN of each PFN.
    private let numbers: [UInt64]
    /// The PFNs that have one, in the order of their MFNs.
    private let inOrder: [UInt32]

    /// The PFNs that are believed of a guest with so much memory: twice as many, for it may have given back half of it, and a hole as in the memory map of a machine (4 GiB).
    /// - Parameter frames: that the guest has or may have.
    /// - Returns: less than 2^32.
    public static func limit(frames: UInt64) -> Int { Int(min(frames, 1 << 30) * 2 + (1 << 20)) }
    /// Stands for a PFN without memory.
    private static let none = UInt64.max

    /// - Parameter table: the P2M list of Linux, an entry for each PFN from 0 on (arch/x86/xen/p2m.c, `xen_p2m_addr`), at most 2^32. Entries with one of the
    ///   two upper bits (INVALID_P2M_ENTRY, FOREIGN_FRAME_BIT, IDENTITY_FRAME_BIT of arch/x86/include/asm/xen/page.h) are no memory of the guest.
    public init(table: [UInt64]) {
        numbers = table.prefix(1 << 32).map { $0 >> 62 == 0 ? $0 : Self.none }
        let numbers = numbers
        inOrder = numbers.indices.filter { numbers[$0] != Self.none }.map { UInt32($0) }.sorted {
            numbers[Int($0)] < numbers[Int($1)]
        }
    }

    /// One past the highest PFN.
    public var frameLimit: FrameNumber { FrameNumber(UInt64(numbers.count)) }

    public var hasMemory: Bool { !inOrder.isEmpty }

    /// The MFN of a frame of the guest; nil when there is no memory.
    public func machineFrame(of frame: FrameNumber) -> FrameNumber? {
        guard frame < frameLimit, numbers[Int(frame.rawValue)] != Self.none else { return nil }
        return FrameNumber(numbers[Int(frame.rawValue)])
    }

    /// The PFN of a machine frame; nil when it is none of the guest's.
    public func frame(ofMachineFrame number: FrameNumber) -> FrameNumber? {
        var (low, high) = (0, inOrder.count)
        while low < high {
            let middle = (low + high) / 2
            if numbers[Int(inOrder[middle])] < number.rawValue { low = middle + 1 } else { high = middle }
        }
        guard low < inOrder.count, numbers[Int(inOrder[low])] == number.rawValue else { return nil }
        return FrameNumber(UInt64(inOrder[low]))
    }

    /// An entry of a page table with the PFN in place of the MFN, as the kernel itself reads it (`pte_mfn_to_pfn`, arch/x86/xen/mmu_pv.c of 6.1).
    ///
    /// Entries that are not present hold what the kernel wrote, PROT_NONE ones a PFN. One that maps what is not the guest's memory counts as empty.
    func pseudophysical(entry: UInt64) -> UInt64 {
        guard entry & PageTableEntry.present != 0 else { return entry }
        guard let frame = frame(ofMachineFrame: FrameNumber((entry & PageTableEntry.addressMask) >> 12)) else { return 0 }
        return entry & ~PageTableEntry.addressMask | frame.address.rawValue
    }
}
