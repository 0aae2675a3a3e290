import KernelTypes

/// `struct zspage`, `struct zs_pool`, `struct size_class` and what zsmalloc keeps in a `struct page` (mm/zsmalloc.c, mm/zpdesc.h).
struct ZsmallocLayout: Sendable {
    let magic, isHuge, classIndex, pool: Field
    let classes: Field
    let classSize: Field
    /// Of a `struct page`: since 6.14 it has its own name for them, `struct zpdesc`.
    let zspage, next, handle: Field

    /// ZSPAGE_MAGIC.
    static let magicValue: UInt64 = 0x58
    /// The largest size of a class is that of a page, and each is a multiple of 8 (ZS_ALIGN).
    static let largestClass: UInt64 = 4096
    /// ZS_MIN_ALLOC_SIZE; from there a class for each 16 bytes (ZS_SIZE_CLASS_DELTA).
    static let smallestClass = 32
    /// An object begins with its handle (ZS_HANDLE_SIZE), to which OBJ_ALLOCATED_TAG is added.
    static let handleSize = 8
    static let allocatedTag: UInt64 = 1

    /// - Returns: nil for a kernel that keeps objects in another way: before 5.17 the page told which are huge.
    init?(_ types: TypeTable) {
        guard let zspage = try? types.structure("zspage"), let pool = try? types.structure("zs_pool"),
            let sizeClass = try? types.structure("size_class"), let page = try? types.structure("page"),
            let magic = zspage.optional("magic"), let huge = zspage.optional("huge"), let index = zspage.optional("class"),
            let owner = zspage.optional("pool"), let classes = pool.optional("size_class"), 1...1024 ~= classes.count,
            let size = sizeClass.optional("size")
        else { return nil }
        let descriptor = try? types.structure("zpdesc")
        guard let own = descriptor?.optional("zspage") ?? page.optional("private"),
            let next = descriptor?.optional("next") ?? page.optional("index"),
            let handle = descriptor?.optional("handle") ?? page.optional("index")
        else { return nil }
        self.magic = magic
        isHuge = huge
        classIndex = index
        self.pool = owner
        self.classes = classes
        classSize = size
        self.zspage = own
        self.next = next
        self.handle = handle
    }
}

/// How zsmalloc writes the place of an object in a word: the frame of its first page above, its number among those of the same zspage below.
///
/// No type tells it, and it differs: bits of the number are those that `MAX_POSSIBLE_PHYSMEM_BITS` leaves (52, or 46 without five levels of page tables), less
/// those of a tag, which was in the word up to 6.2 and later only in the object (OBJ_TAG_BITS, OBJ_INDEX_BITS). An object begins with its handle, so a
/// reading that is wrong is seen to be.
struct ZsmallocEncoding: Hashable, Sendable {
    let frameShift: UInt64
    let tagBits: UInt64

    static let known = [24, 30].flatMap { shift in [1, 0, 2].map { ZsmallocEncoding(frameShift: shift, tagBits: $0) } }
}
