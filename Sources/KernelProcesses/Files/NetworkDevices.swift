import GuestMemory
import KernelObjects
import KernelTypes

/// `struct net_device` on its namespace's list (include/linux/netdevice.h).
struct NetworkDeviceLayout: Sendable {
    /// `skc_net` of a socket.
    let namespace: Field
    let devices: Field
    let link: Field
    let index: Field
    let name: Field
    /// `ns.inum` of the namespace.
    let namespaceNumber: Field

    /// nil where the kernel has no network namespaces.
    init?(_ types: TypeTable) {
        guard let namespace = (try? types.structure("sock"))?.optional("__sk_common.skc_net.net"),
            let devices = (try? types.structure("net"))?.optional("dev_base_head"),
            let device = try? types.structure("net_device"), let link = device.optional("dev_list"),
            let index = device.optional("ifindex"), let name = device.optional("name"),
            let number = (try? types.structure("net"))?.optional("ns.inum")
        else { return nil }
        self.namespace = namespace
        self.devices = devices
        self.link = link
        self.index = index
        self.name = name
        namespaceNumber = number
    }
}

extension FileReader {
    private static let deviceLimit = 1 << 16

    /// Inode number of the network namespace of a `struct sock`; 0 in a kernel without them.
    func networkNamespace(ofSocket sock: VirtualAddress) throws(MemoryFault) -> UInt32 {
        guard let layout = layout.sockets.devices else { return 0 }
        return try kernel.uint32(layout.namespaceNumber, of: kernel.pointer(layout.namespace, of: sock))
    }

    /// The name of the network device of this number in the namespace of a `struct sock`.
    func deviceName(_ number: UInt32, ofSocket sock: VirtualAddress) throws(MemoryFault) -> [UInt8] {
        guard let layout = layout.sockets.devices else {
            throw MemoryFault(.damaged("socket bound to device \(number), whose name this kernel does not tell"), at: sock)
        }
        let head = try kernel.pointer(layout.namespace, of: sock) + layout.devices.offset
        var devices: [VirtualAddress] = []
        if let fault = kernel.forEach(onList: head, link: layout.link, limit: Self.deviceLimit, { devices.append($0) }) {
            throw fault
        }
        for device in devices where try kernel.uint32(layout.index, of: device) == number {
            let name = try kernel.text(layout.name, of: device)
            if !name.isEmpty { return name }
        }
        throw MemoryFault(.damaged("socket bound to device \(number), which is not there"), at: sock)
    }
}
