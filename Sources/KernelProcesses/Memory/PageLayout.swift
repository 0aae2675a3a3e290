import KernelTypes

/// `struct page` (include/linux/mm_types.h), and the images of the vDSO (arch/x86/include/asm/vdso.h).
struct PageLayout: Sendable {
    let size: Int
    let mapping: Field
    let compoundHead: Field
    let vdsoData: Field
    let vdsoSize: Field
    let addressSpacePages: Field

    init(_ types: TypeTable) throws(KernelError) {
        let page = try types.structure("page")
        size = page.size
        mapping = try page.field("mapping")
        compoundHead = try page.field(anyOf: "compound_info", "compound_head")
        let vdso = try types.structure("vdso_image")
        vdsoData = try vdso.field("data")
        vdsoSize = try vdso.field("size")
        addressSpacePages = try types.structure("address_space").field("i_pages")
    }
}
