import ProcessModel

/// Pages of hugetlb that a group needs: the kernel reserves them for a mapping as a whole, once for all that share it (hugetlb_reserve_pages, mm/hugetlb.c).
enum ReservedPages {
    static func needed(by group: ProtectedGroup) -> [RecoveryManifest.ReservedPages] {
        var bytes: [UInt64: UInt64] = [:]
        for space in group.addressSpaces.values {
            for mapping in space.mappings where mapping.hugePageBytes != 0 {
                guard case .memfd(_, isPrivate: true) = mapping.kind else { continue }
                bytes[mapping.hugePageBytes, default: 0] += mapping.end.rawValue - mapping.start.rawValue
            }
        }
        for memory in group.sharedMemory.values where memory.hugePageBytes != 0 {
            bytes[memory.hugePageBytes, default: 0] += memory.sizeBytes
        }
        return bytes.sorted { $0.key < $1.key }.map {
            RecoveryManifest.ReservedPages(sizeBytes: $0.key, count: ($0.value + $0.key - 1) / $0.key)
        }
    }
}
