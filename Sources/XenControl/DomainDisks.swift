/// A disk of a domain, as the toolstack has attached it.
public struct DomainDisk: Sendable, Hashable {
    /// As Linux calls it in the domain: `xvda`.
    public var name: String
    /// The device or the file of the backend domain that is behind it.
    public var target: String
}

extension XenStore {
    /// The disks of a domain (docs/misc/xenstore-paths.pandoc of Xen): `params` of a backend is a device, or a file with its driver before it.
    public func disks(of domain: DomainID) throws(XenError) -> [DomainDisk] {
        let devices = "\(domain.storePath)/device/vbd"
        var disks: [DomainDisk] = []
        for device in try list(devices) ?? [] {
            guard let backend = try read("\(devices)/\(device)/backend"), let name = try read("\(backend)/dev"),
                let target = try read("\(backend)/params")
            else { continue }
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
