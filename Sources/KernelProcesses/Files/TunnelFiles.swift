import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct tun_file` and `struct tun_struct` (drivers/net/tun.c): types of the module tun, where that is one.
struct TunnelFileLayout: Sendable {
    let socket, tunnel, detached: Field
    let device: Field
    let name: Field

    init?(_ types: TypeTable) {
        guard let file = try? types.structure("tun_file"), let socket = file.optional("sk"), let tunnel = file.optional("tun"),
            let detached = file.optional("detached"), let device = (try? types.structure("tun_struct"))?.optional("dev"),
            let name = (try? types.structure("net_device"))?.optional("name")
        else { return nil }
        self.socket = socket
        self.tunnel = tunnel
        self.detached = detached
        self.device = device
        self.name = name
    }
}

extension DeadKernel {
    /// nil when no program has opened /dev/net/tun, or the kernel does not tell of what it is made.
    var tunnelFiles: TunnelFileLayout? {
        if let known = knownTunnelFiles { return known }
        let found = types(with: "tun_file", ofModule: "tun").flatMap(TunnelFileLayout.init)
        knownTunnelFiles = .some(found)
        return found
    }
}

extension FileReader {
    /// TUN_MINOR of the misc devices (include/linux/miscdevice.h).
    static func isTunnel(major: UInt32, minor: UInt32) -> Bool { major == 10 && minor == 200 }

    /// /dev/net/tun, opened; nil: the kernel does not tell of it.
    func tunnel(ofFileAt address: VirtualAddress, _ node: FileNode) throws(MemoryFault) -> OpenFile.Kind? {
        guard let fields = tunnels else { return nil }
        let file = try kernel.pointer(layout.file.privateData, of: address)
        var result = TunnelFile(
            node: node, networkNamespace: try networkNamespace(ofSocket: file + fields.socket.offset), device: nil,
            isDetached: false)
        // One that is detached may have both (tun_disable_queue).
        var tunnel = try kernel.pointer(fields.detached, of: file)
        result.isDetached = !tunnel.isNull
        if tunnel.isNull { tunnel = try kernel.pointer(fields.tunnel, of: file) }
        if !tunnel.isNull {
            let device = try kernel.pointer(fields.device, of: tunnel)
            result.device = KernelString(bytes: try kernel.text(fields.name, of: device))
        }
        return .tunnel(result)
    }
}
