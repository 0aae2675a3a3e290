import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct ovl_fs`, `struct ovl_layer` and `struct ovl_config` (fs/overlayfs/ovl_entry.h), which are types of a module.
private struct OverlayLayout {
    let layers, count, workBase: Field
    let dataLayers: Field?
    let layerSize: Int
    let layerMount: Field
    let redirect, index, exported, inodes, copiesMetadata: Field
    let userAttributes, uuid: Field?
    /// `ovl_volatile`, since 5.10 (commit c86243b090bc), and `fsync_mode` in its place in newer kernels.
    let isVolatile: Field?
    let syncMode: Field?

    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let overlay = try types.structure("ovl_fs")
            let layer = try types.structure("ovl_layer")
            layers = try overlay.field("layers")
            count = try overlay.field("numlayer")
            workBase = try overlay.field("workbasedir")
            dataLayers = overlay.optional("numdatalayer")
            layerSize = layer.size
            layerMount = try layer.field("mnt")
            redirect = try overlay.field("config.redirect_mode")
            index = try overlay.field("config.index")
            exported = try overlay.field("config.nfs_export")
            inodes = try overlay.field("config.xino")
            copiesMetadata = try overlay.field("config.metacopy")
            userAttributes = overlay.optional("config.userxattr")
            uuid = overlay.optional("config.uuid")
            isVolatile = overlay.optional("config.ovl_volatile")
            syncMode = overlay.optional("config.fsync_mode")
        } catch {
            return nil
        }
    }

    /// As fs/overlayfs/ovl_entry.h of Linux 5.10 has them, for a kernel that keeps no types of its modules.
    private init() {
        layers = Field(offset: 8, size: 8)
        count = Field(offset: 0, size: 4)
        workBase = Field(offset: 24, size: 8)
        dataLayers = nil
        layerSize = 32
        layerMount = Field(offset: 0, size: 8)
        redirect = Field(offset: 88, size: 8)
        index = Field(offset: 96, size: 1)
        exported = Field(offset: 97, size: 1)
        inodes = Field(offset: 100, size: 4)
        copiesMetadata = Field(offset: 104, size: 1)
        userAttributes = nil
        uuid = nil
        isVolatile = Field(offset: 105, size: 1)
        syncMode = nil
    }

    /// - Returns: nil when the overlay at this address is not as in 5.10: the name that each lower layer was given has to be among its options.
    static func ofLinux5_10(_ overlay: VirtualAddress, _ reader: KernelReader) throws(MemoryFault) -> Self? {
        let layout = Self()
        // ovl_config.lowerdir
        let names = try reader.memory.pointer(at: overlay + 56)
        guard names.isKernel else { return nil }
        let separators = try reader.memory.string(at: names, limit: 4096).utf8.filter { $0 == UInt8(ascii: ":") }.count
        let count = try reader.uint32(layout.count, of: overlay)
        guard separators + 2 == Int(count) else { return nil }
        let layers = try reader.pointer(layout.layers, of: overlay)
        // ovl_layer.idx
        for index in 0..<count where try reader.memory.integer(at: layers + Int(index) * 32 + 24, as: UInt32.self) != index {
            return nil
        }
        return layout
    }
}

extension GroupBuilder {
    /// OVL_MAX_STACK.
    private static let layerLimit = 500
    /// OVL_FSYNC_AUTO, what an overlay has when nobody asks for another.
    private static let usualSyncMode: UInt64 = 1

    /// What the overlay of a superblock was mounted with.
    func overlay(ofSuperblock superblock: VirtualAddress, guest: inout GuestMounts, _ mounts: MountLayout) throws(MemoryFault)
        -> OverlayLayers
    {
        var result = OverlayLayers()
        let reader = kernel.reader
        let overlay = try reader.pointer(mounts.superblockInfo, of: superblock)
        let types = try kernel.moduleTypes("overlay")
        guard let layout = try types == nil ? OverlayLayout.ofLinux5_10(overlay, reader) : types.flatMap(OverlayLayout.init)
        else {
            result.problem = "the kernel has no types of the module overlay"
            return result
        }
        let count = Int(try reader.uint32(layout.count, of: overlay))
        guard (1...Self.layerLimit + 1).contains(count) else {
            throw MemoryFault(.damaged("overlay of \(count) layers"), at: overlay)
        }
        if let field = layout.dataLayers, try reader.uint32(field, of: overlay) != 0 {
            result.problem = "it has layers of data only"
        }
        let layers = try reader.pointer(layout.layers, of: overlay)
        for index in 0..<count {
            let shown = try reader.pointer(layout.layerMount, of: layers + index * layout.layerSize)
            // The first is the one that is written to, if there is one.
            if shown.isNull {
                if index == 0 { continue }
                throw MemoryFault(.damaged("overlay without its layer \(index)"), at: layers)
            }
            let mount = shown - mounts.embedded.offset
            let directory = try reader.pointer(mounts.root, of: mount)
            let path = try place(of: directory, on: reader.pointer(mounts.superblock, of: mount), &guest, mounts, &result)
            if index == 0 { result.upper = path } else { result.lower.append(path) }
            if index == 0 {
                let work = try reader.pointer(layout.workBase, of: overlay)
                result.work = try place(of: work, on: reader.pointer(mounts.superblock, of: mount), &guest, mounts, &result)
            }
        }
        result.options = try options(of: overlay, layout)
        let isVolatile = try layout.isVolatile.map { field throws(MemoryFault) in try reader.value(field, of: overlay) != 0 }
        let syncMode = try layout.syncMode.map { field throws(MemoryFault) in try reader.value(field, of: overlay) }
        if isVolatile == true || syncMode.map({ $0 != Self.usualSyncMode }) == true {
            result.problem = "it was mounted as volatile, or with another mode of fsync"
        }
        return result
    }

    /// Where the guest sees a directory of a layer, after its reboot too.
    private func place(
        of directory: VirtualAddress, on superblock: VirtualAddress, _ guest: inout GuestMounts, _ mounts: MountLayout,
        _ result: inout OverlayLayers
    ) throws(MemoryFault) -> KernelString {
        let filesystem = try kernel.reader.filesystem(ofSuperblock: superblock, layout: kernel.layout.files.superblock)
        guard filesystem.isOnBlockDevice, !directory.isNull,
            try !kernel.reader.isUnhashed(directory, layout: kernel.layout.files.paths),
            let path = try guestPlace(of: directory, on: superblock, group: 0, &guest, mounts)?.path
        else {
            result.problem = "one of its layers is not on a disk that the guest shows"
            return "/"
        }
        // What separates directories and options from each other.
        if path.contains(where: { [UInt8(ascii: ":"), UInt8(ascii: ","), UInt8(ascii: "\\")].contains($0) }) {
            result.problem = "the name of one of its layers has a colon, comma or backslash in it"
        }
        return KernelString(bytes: path)
    }

    private func options(of overlay: VirtualAddress, _ layout: OverlayLayout) throws(MemoryFault) -> [String] {
        let reader = kernel.reader
        func isOn(_ field: Field) throws(MemoryFault) -> Bool { try reader.value(field, of: overlay) != 0 }
        var options = ["index=\(try isOn(layout.index) ? "on" : "off")"]
        let inodes = try reader.value(layout.inodes, of: overlay)
        // OVL_XINO_OFF, _AUTO, _ON
        if inodes < 3 { options.append("xino=\(["off", "auto", "on"][Int(inodes)])") }
        if try isOn(layout.exported) { options.append("nfs_export=on") }
        if let field = layout.uuid {
            // A flag up to 6.5; since 6.6 OVL_UUID_OFF, _NULL, _AUTO, _ON.
            let names = field.size == 1 ? ["off"] : ["off", "null", "auto", "on"]
            let uuid = try reader.value(field, of: overlay)
            if uuid < names.count { options.append("uuid=\(names[Int(uuid)])") }
        }
        if let field = layout.userAttributes, try isOn(field) {
            // It implies the rest.
            return options + ["userxattr"]
        }
        if try isOn(layout.copiesMetadata) { options.append("metacopy=on") }
        // A name up to 6.5, since then OVL_REDIRECT_OFF, _FOLLOW, _NOFOLLOW, _ON.
        let redirect = try reader.value(layout.redirect, of: overlay)
        let names = ["off", "follow", "nofollow", "on"]
        let name =
            layout.redirect.size == 8
            ? try reader.memory.string(at: VirtualAddress(redirect), limit: 16) : redirect < 4 ? names[Int(redirect)] : ""
        if names.contains(name) { options.append("redirect_dir=\(name)") }
        return options
    }
}
