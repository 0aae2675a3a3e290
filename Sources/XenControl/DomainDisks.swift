/// A disk of a domain, as the toolstack has attached it.
public struct DomainDisk: Sendable, Hashable {
    /// As Linux calls it in the domain: `xvda`.
    public var name: String
    /// The device or the file of the backend domain that is behind it.
    public var target: String
}

extension XenStore {
    /// The disks of a domain (docs/misc/xenstore-paths.pandoc of Xen): `params` of a backend is a device, or a file with its driver before it.
    ///
    /// They are read in the toolstack's own copy (`libxl__device_generic_add` of tools/libs/light/libxl_device.c): what is below /local/domain the domain can write, and it
    /// would choose which file of the control domain is its disk.
    public func disks(of domain: DomainID) throws(XenError) -> [DomainDisk] {
        let devices = "/libxl/\(domain)/device/vbd"
        var disks: [DomainDisk] = []
        for device in try list(devices) ?? [] {
            guard let name = try read("\(devices)/\(device)/dev"), let target = try read("\(devices)/\(device)/params") else {
                continue
            }
            // xen-blkfront calls the disks that emulate IDE and SCSI xvd as well (xlvbd_alloc_gendisk, drivers/block/xen-blkfront.c).
            let isOld = name.hasPrefix("hd") || name.hasPrefix("sd")
            disks.append(
                DomainDisk(
                    name: isOld ? "xvd" + name.dropFirst(2) : name,
                    target: target.hasPrefix("/") ? target : String(target.drop { $0 != ":" }.dropFirst())))
        }
        return disks
    }
}
