import KernelObjects
import KernelTypes

/// `struct swap_info_struct`, `struct swap_extent` and what keeps pages on their way to a swap area (include/linux/swap.h, mm/swapfile.c, mm/swap_table.h).
struct SwapLayout: Sendable {
    let flags, inUse, pageLimit: Field
    let number: Field?
    let extents: Field
    let extentNode, extentStart, extentCount, extentBlock: Field
    let rbTree: RedBlackTreeLayout
    let device: Field
    /// In `struct block_device`; before 5.11 (commit 0d02129e76ed) in the `hd_struct` that `part` points to.
    let firstSector: Field
    let partition: Field?
    let disk: Field
    let diskName: Field
    /// A bit for each slot whose page is all zeros and was not written; 6.12 (commit 0ca0c24e3211) to 7.1.
    let zeroMap: Field?

    /// The page cache of swap areas: arrays of `address_space`, one for 2^14 slots, in `swapper_spaces`. Since 6.18 (commit 8578e0c00dcf) tables of the
    /// clusters of slots take their place.
    let clusters, clusterTable: Field?
    let clusterSize: Int
    let slotsInCluster: UInt64
    let addressSpaceSize: Int
    let pagePrivate: Field
    let xarraySize: Int
    /// `gendisk.private_data`: what the disk's driver keeps of it.
    let diskPrivate: Field?
    /// A byte for each slot with the number of its users, until the tables of the clusters have it.
    let users: Field?

    /// Slots for which there is one `address_space` (SWAP_ADDRESS_SPACE_SHIFT, mm/swap.h).
    static let spaceShift: UInt64 = 14
    /// SWAP_HAS_CACHE of a byte of `swap_map` (include/linux/swap.h): the slot is in the swap cache, which is no user.
    static let hasCache: UInt8 = 0x40
    /// SWP_USED of `flags`: the area is there.
    static let used: UInt64 = 1
    /// SWP_FS_OPS: it is read and written through the operations of its file system, not at places of a disk.
    let fileSystemFlag: UInt64?

    init?(_ types: TypeTable) {
        guard let area = try? types.structure("swap_info_struct"), let extent = try? types.structure("swap_extent"),
            let block = try? types.structure("block_device"), let disk = try? types.structure("gendisk"),
            let mapping = try? types.structure("address_space"), let array = try? types.structure("xarray"),
            let page = try? types.structure("page"), let rbTree = try? RedBlackTreeLayout(types)
        else { return nil }
        let part = try? types.structure("hd_struct")
        guard let flags = area.optional("flags"), let inUse = area.optional("inuse_pages"), let max = area.optional("max"),
            let extents = area.optional("swap_extent_root"), let node = extent.optional("rb_node"),
            let start = extent.optional("start_page"), let count = extent.optional("nr_pages"),
            let blocks = extent.optional("start_block"), let device = area.optional("bdev"),
            let sector = block.optional("bd_start_sect") ?? part?.optional("start_sect"),
            let diskOfDevice = block.optional("bd_disk"), let name = disk.optional("disk_name"),
            let own = page.optional("private")
        else { return nil }
        self.flags = flags
        self.inUse = inUse
        number = area.optional("type")
        pageLimit = max
        self.extents = extents
        extentNode = node
        extentStart = start
        extentCount = count
        extentBlock = blocks
        self.rbTree = rbTree
        self.device = device
        firstSector = sector
        partition = block.optional("bd_start_sect") == nil ? block.optional("bd_part") : nil
        self.disk = diskOfDevice
        diskName = name
        zeroMap = area.optional("zeromap")
        clusters = area.optional("cluster_info")
        let cluster = try? types.structure("swap_cluster_info")
        clusterTable = cluster?.optional("table")
        clusterSize = cluster?.size ?? 0
        slotsInCluster = UInt64((try? types.structure("swap_table"))?.size ?? 0) / 8
        addressSpaceSize = mapping.size
        pagePrivate = own
        xarraySize = array.size
        diskPrivate = disk.optional("private_data")
        users = area.optional("swap_map")
        fileSystemFlag = types.enumerator("SWP_FS_OPS").flatMap { $0 > 0 ? UInt64($0) : nil }
    }
}
