import GuestMemory
import KernelObjects
import KernelTypes

/// How a set keeps its elements (net/netfilter/nft_set_*.c).
enum FilterSetKind: Sendable {
    case resizableHash, hash, bitmap, tree, ranges

    /// By the variable that the set's operations are in.
    static let operations: [String: FilterSetKind] = [
        "nft_set_rhash_type": .resizableHash, "nft_set_hash_type": .hash, "nft_set_hash_fast_type": .hash,
        "nft_set_bitmap_type": .bitmap, "nft_set_rbtree_type": .tree, "nft_set_pipapo_type": .ranges,
        "nft_set_pipapo_avx2_type": .ranges,
    ]

    /// The elements in the order in which they can be added again.
    func elements(in data: VirtualAddress, of filter: PacketFilterReader) throws -> [VirtualAddress] {
        let found =
            switch self {
            case .resizableHash: try filter.elements(ofResizableHash: data)
            case .hash: try filter.elements(ofHash: data)
            case .bitmap: try filter.elements(ofBitmap: data)
            case .tree: try filter.elements(ofTree: data)
            case .ranges: try filter.elements(ofRanges: data)
            }
        try filter.count(found.count)
        return found
    }
}

extension PacketFilterReader {
    private static let elementLimit = 1 << 16
    private static let bucketLimit: UInt64 = 1 << 20

    private func ofSets(_ name: String) throws -> Structure { try structure(anyOf: [name], in: "nf_tables", for: "set") }

    private func check(_ fault: MemoryFault?) throws { if let fault { throw fault } }

    /// Counts buckets and the like, most of which are empty in a set that was made for more elements. Each is a word in a row of them, so that many are as
    /// much as one object.
    private func count(words: UInt64) throws { try count(Int(words / 64) + 1) }

    /// `struct nft_rhash`: a `struct rhashtable` (include/linux/rhashtable.h) that may be growing.
    fileprivate func elements(ofResizableHash data: VirtualAddress) throws -> [VirtualAddress] {
        let hash = try ofSets("nft_rhash").field("ht")
        let link = try ofSets("nft_rhash_elem").field("node")
        let table = try ofSets("rhashtable")
        let buckets = try ofSets("bucket_table")
        let (size, nested, next) = try (buckets.field("size"), buckets.field("nest"), buckets.field("future_tbl"))
        let first = try buckets.field("buckets")
        let start = data + hash.offset
        let count = try reader.uint32(table.field("nelems"), of: start)
        var found: [VirtualAddress] = []
        var part = try reader.pointer(table.field("tbl"), of: start)
        // While it is copied to a larger one the old one leads to that.
        for _ in 0..<4 where !part.isNull {
            let bucketCount = try reader.value(size, of: part)
            guard bucketCount > 0, bucketCount & (bucketCount - 1) == 0, bucketCount <= Self.bucketLimit else {
                throw MemoryFault(.damaged("hash of \(bucketCount) buckets"), at: part)
            }
            guard try reader.value(nested, of: part) == 0 else { throw PacketFilterProblem("set whose hash could not grow") }
            try self.count(words: bucketCount)
            for bucket in 0..<Int(bucketCount) {
                let place = part + first.offset + bucket * 8
                // The lowest bit is a lock in a bucket, and in a link says that the list has ended.
                var node = VirtualAddress(try reader.memory.unsigned(at: place, size: 8) & ~1)
                while !node.isNull, node.rawValue & 1 == 0 {
                    guard found.count < Self.elementLimit else {
                        throw PacketFilterProblem("set of more than \(Self.elementLimit) elements")
                    }
                    found.append(node - link.offset)
                    node = try reader.memory.pointer(at: node)
                }
            }
            part = try reader.pointer(next, of: part)
        }
        guard found.count == Int(count) else {
            throw MemoryFault(.damaged("hash of \(count) elements, of which \(found.count) are found"), at: start)
        }
        return found
    }

    /// `struct nft_hash`, whose number of buckets does not change.
    fileprivate func elements(ofHash data: VirtualAddress) throws -> [VirtualAddress] {
        let hash = try ofSets("nft_hash")
        let link = try ofSets("nft_hash_elem").field("node")
        let count = try reader.value(hash.field("buckets"), of: data)
        guard count <= Self.bucketLimit else { throw MemoryFault(.damaged("hash of \(count) buckets"), at: data) }
        try self.count(words: count)
        let table = try hash.field("table")
        var found: [VirtualAddress] = []
        for bucket in 0..<Int(count) {
            try check(
                reader.forEach(
                    onHashList: data + table.offset + bucket * 8, link: link, limit: Self.elementLimit - found.count,
                    { found.append($0) }))
        }
        return found
    }

    /// `struct nft_bitmap`: its elements are a list besides.
    fileprivate func elements(ofBitmap data: VirtualAddress) throws -> [VirtualAddress] {
        let link = try ofSets("nft_bitmap_elem").field("head")
        var found: [VirtualAddress] = []
        try check(
            reader.forEach(
                onList: data + ofSets("nft_bitmap").field("list").offset, link: link, limit: Self.elementLimit,
                { found.append($0) }))
        return found
    }

    /// `struct nft_rbtree`, which has the largest key first. Ranges are added from the smallest on, so that each one's end follows its beginning.
    fileprivate func elements(ofTree data: VirtualAddress) throws -> [VirtualAddress] {
        let link = try ofSets("nft_rbtree_elem").field("node")
        var found: [VirtualAddress] = []
        let tree = try RedBlackTreeLayout(kernel.manifest.types)
        try check(
            reader.forEach(
                inRedBlackTree: data + ofSets("nft_rbtree").field("root").offset, link: link, layout: tree,
                limit: Self.elementLimit, { found.append($0) }))
        return found.reversed()
    }

    /// `struct nft_pipapo` (net/netfilter/nft_set_pipapo.h): the rules of the last part of its keys lead to the elements, several in a row to the same one.
    fileprivate func elements(ofRanges data: VirtualAddress) throws -> [VirtualAddress] {
        let matching = try ofSets("nft_pipapo_match")
        let part = try ofSets("nft_pipapo_field")
        let bucket = try ofSets("nft_pipapo_map_bucket")
        let (rules, map, element) = try (part.field("rules"), part.field("mt"), bucket.field("e"))
        let match = try reader.pointer(ofSets("nft_pipapo").field("match"), of: data)
        if match.isNull { return [] }
        let count = try reader.value(matching.field("field_count"), of: match)
        // NFT_PIPAPO_MAX_FIELDS
        guard (1...16).contains(count) else { throw MemoryFault(.damaged("set of \(count) parts"), at: match) }
        let last = try match + matching.field("f").offset + (Int(count) - 1) * part.size
        let ruleCount = try reader.value(rules, of: last)
        guard ruleCount <= UInt64(Self.elementLimit) else {
            throw PacketFilterProblem("set of more than \(Self.elementLimit) elements")
        }
        try self.count(words: ruleCount)
        let first = try reader.pointer(map, of: last)
        var found: [VirtualAddress] = []
        for rule in 0..<Int(ruleCount) {
            let next = try reader.pointer(element, of: first + rule * bucket.size)
            if next != found.last { found.append(next) }
        }
        return found
    }
}
