/// A slot of a swap area (`swp_entry_t`, include/linux/swapops.h): the number of the area, and of the page in it.
///
/// The highest types are no areas: they mark pages under migration, broken ones, and the like.
public struct SwapEntry: Hashable, Sendable {
    /// 0…31 (MAX_SWAPFILES_SHIFT is 5); the index in `swap_info`.
    public var type: Int
    /// In pages from the start of the area, less than 2^50.
    public var offset: UInt64

    public init(type: Int, offset: UInt64) {
        self.type = type
        self.offset = offset
    }

    /// As the kernel keeps it outside of page tables: the type is in the uppermost five of 63 bits (SWP_TYPE_SHIFT, include/linux/swapops.h).
    public init(value: UInt64) {
        self.init(type: Int(value >> 58 & 0x1f), offset: value & 0x03ff_ffff_ffff_ffff)
    }
}

extension SwapEntry: CustomStringConvertible {
    public var description: String { "slot \(offset) of swap area \(type)" }
}
