import ProcessModel

/// Pages of hugetlb that a group needs: the kernel reserves them for a mapping as a whole, once for all that share it (hugetlb_reserve_pages, mm/hugetlb.c).
enum ReservedPages {
    static func needed(by group: ProtectedGroup) -> [RecoveryManifest.ReservedPages] {
        var bytes: [UInt64: UInt64] = [:]
        // A damaged size may be any number; the largest that the manifest can hold is refused by the agent, for no guest has as much.
        func add(_ count: UInt64, of size: UInt64) {
            let (sum, isTooMuch) = bytes[size, default: 0].addingReportingOverflow(count)
            bytes[size] = isTooMuch ? UInt64(Int64.max) : min(sum, UInt64(Int64.max))
        }
        for space in group.addressSpaces.values {
            for mapping in space.mappings where mapping.hugePageBytes != 0 {
                guard case .memfd(_, isPrivate: true) = mapping.kind else { continue }
                add(mapping.end.rawValue &- mapping.start.rawValue, of: mapping.hugePageBytes)
            }
        }
        for memory in group.sharedMemory.values where memory.hugePageBytes != 0 {
            add(memory.sizeBytes, of: memory.hugePageBytes)
        }
        return bytes.sorted { $0.key < $1.key }.map {
            RecoveryManifest.ReservedPages(sizeBytes: $0.key, count: $0.value / $0.key + ($0.value % $0.key == 0 ? 0 : 1))
        }
    }
}
