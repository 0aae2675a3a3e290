import KernelTypes

/// `struct page` (include/linux/mm_types.h), and the images of the vDSO (arch/x86/include/asm/vdso.h).
struct PageLayout: Sendable {
    let size: Int
    let mapping: Field
    let compoundHead: Field
    let order: Field?
    let vdsoData: Field
    let vdsoSize: Field
    let addressSpacePages: Field

    init(_ types: TypeTable) throws(KernelError) {
        let page = try types.structure("page")
        size = page.size
        mapping = try page.field("mapping")
        compoundHead = try page.field("compound_head")
        // In the second page of a compound page: struct folio has it since 5.16, struct page before; the low byte of
        // `_flags_1` since 6.6 (commit 379708ffde1b).
        order = page.optional("compound_order")
        let vdso = try types.structure("vdso_image")
        vdsoData = try vdso.field("data")
        vdsoSize = try vdso.field("size")
        addressSpacePages = try types.structure("address_space").field("i_pages")
    }
}
