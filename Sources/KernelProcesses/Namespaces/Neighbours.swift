import GuestMemory
import KernelObjects
import KernelTypes

/// `struct neigh_table` (include/net/neighbour.h): which hardware has which address, one table for all network namespaces.
struct NeighbourLayout: Sendable {
    let table, buckets, shift: Field
    /// The first member; a bucket leads to it.
    let link, device, state: Field

    /// nil for a kernel whose structures are other ones.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            table = try types.structure("neigh_table").field("nht")
            let hash = try types.structure("neigh_hash_table")
            // A `struct hlist_head` since 6.13 (commit f7f52738637f): a pointer as well.
            buckets = try hash.field(anyOf: "hash_heads", "hash_buckets")
            shift = try hash.field("hash_shift")
            let neighbour = try types.structure("neighbour")
            link = try neighbour.field(anyOf: "hash", "next")
            device = try neighbour.field("dev")
            state = try neighbour.field("nud_state")
            guard link.offset == 0 else { return nil }
        } catch {
            return nil
        }
    }
}

extension GroupBuilder {
    /// ARP, and neighbour discovery of IPv6.
    static let neighbourTables: Set<String> = ["arp_tbl", "nd_tbl"]
    /// NUD_PERMANENT
    private static let isPermanent: UInt64 = 0x80

    /// How many neighbours somebody has set for good. The others the kernel finds again.
    func permanentNeighbours(of devices: Set<VirtualAddress>, _ layout: NeighbourLayout, _ budget: inout NetworkBudget)
        throws(MemoryFault) -> Int
    {
        let reader = kernel.reader
        var found = 0
        for name in Self.neighbourTables.sorted() {
            guard let table = kernel.manifest.symbols.addresses[name] else { continue }
            let hash = try reader.pointer(layout.table, of: table)
            if hash.isNull { continue }
            let shift = try reader.value(layout.shift, of: hash)
            guard shift <= 20 else { throw MemoryFault(.damaged("2^\(shift) lists of neighbours"), at: hash) }
            try budget.spend(steps: 1 << Int(shift), at: hash)
            let buckets = try reader.pointer(layout.buckets, of: hash)
            for index in 0..<(1 << Int(shift)) {
                var neighbour = try reader.memory.pointer(at: buckets + index * 8)
                while !neighbour.isNull {
                    try budget.spend(at: hash)
                    if try reader.value(layout.state, of: neighbour) & Self.isPermanent != 0,
                        devices.contains(try reader.pointer(layout.device, of: neighbour))
                    {
                        found += 1
                    }
                    neighbour = try reader.memory.pointer(at: neighbour)
                }
            }
        }
        return found
    }
}
