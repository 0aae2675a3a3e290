/// Why some bytes of the guest's memory could not be read.
public struct MemoryFault: Error, Hashable, Sendable {
    public enum Reason: Hashable, Sendable {
        /// No page table entry maps the virtual address.
        case notMapped
        /// The page was swapped out or is under migration; the raw page table entry tells where to.
        case notPresent(entry: UInt64)
        /// The dump does not hold the frame (filtered out, or a hole of the physical address space).
        case notInDump
        /// The hypervisor refused to map the frame; its errno.
        case refused(errno: Int32)
        /// The bytes are there but cannot be what the kernel promises; says what is wrong.
        case damaged(String)
    }

    public enum Place: Hashable, Sendable {
        case physical(PhysicalAddress)
        case virtual(VirtualAddress)
    }

    public var reason: Reason
    public var place: Place

    public init(_ reason: Reason, at address: PhysicalAddress) {
        self.reason = reason
        place = .physical(address)
    }

    public init(_ reason: Reason, at address: VirtualAddress) {
        self.reason = reason
        place = .virtual(address)
    }
}

extension MemoryFault: CustomStringConvertible {
    public var description: String {
        let at =
            switch place {
            case .physical(let address): "\(address)"
            case .virtual(let address): "\(address)"
            }
        return switch reason {
        case .notMapped: "not-mapped address \(at)"
        case .notPresent(let entry): "not-present page at \(at) (entry 0x\(String(entry, radix: 16)))"
        case .notInDump: "\(at) is not in the dump"
        case .refused(let errno): "the hypervisor refused \(at) (errno \(errno))"
        case .damaged(let what): "damaged data at \(at): \(what)"
        }
    }
}
