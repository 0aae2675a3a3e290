import KernelTypes

/// Where prctl(PR_SET_MEMORY_MERGE) leaves its mark in `mm_struct.flags`.
enum SamePageMerging {
    /// MMF_VM_MERGE_ANY, of the flags' first word; nil: not known.
    ///
    /// When the prctl was new, in 6.4, it was another bit. It has this one where a member of the structure has become the flag
    /// behind it, MMF_TOPDOWN (commit 529ce23a764f, 6.10).
    static func flag(_ mm: Structure) -> UInt64? { mm.optional("get_unmapped_area") == nil ? 0x4000_0000 : nil }
}
