import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct raw_sock` (include/net/raw.h) and `struct raw6_sock` (include/linux/ipv6.h).
struct RawSocketLayout: Sendable {
    private static let icmp: UInt32 = 1
    private static let icmp6: UInt32 = 58

    /// Bit fields up to Linux 6.5, then bits of `inet_flags` (commits cafbe182a467 and f04b8d3478a3).
    let ownHeader: Field?
    let neverReassembled: Field?
    let flags: Field?
    let ownHeaderBit: UInt64
    let neverReassembledBit: UInt64
    let filter: Field
    let filter6: Field
    let checksum6: Field?

    init(_ types: TypeTable) throws(KernelError) {
        let inet = try types.structure("inet_sock")
        ownHeader = inet.optional("hdrincl")
        neverReassembled = inet.optional("nodefrag")
        flags = inet.optional("inet_flags")
        ownHeaderBit = UInt64(clamping: types.enumerator("INET_FLAGS_HDRINCL") ?? 64)
        neverReassembledBit = UInt64(clamping: types.enumerator("INET_FLAGS_NODEFRAG") ?? 64)
        filter = try types.structure("raw_sock").field("filter")
        let raw6 = try types.structure("raw6_sock")
        filter6 = try raw6.field("filter")
        checksum6 = raw6.optional("checksum")
    }

    func options(of sock: VirtualAddress, socket: InetSocket, _ kernel: KernelReader) throws(MemoryFault)
        -> InetSocket.RawOptions
    {
        func isSet(_ field: Field?, _ bit: UInt64) throws(MemoryFault) -> Bool {
            if let field { return try kernel.value(field, of: sock) != 0 }
            guard let flags, bit < 64 else { return false }
            return try kernel.value(flags, of: sock) >> bit & 1 == 1
        }
        var options = InetSocket.RawOptions()
        options.hasOwnHeader = try isSet(ownHeader, ownHeaderBit)
        if socket.family != 10 { options.isNeverReassembled = try isSet(neverReassembled, neverReassembledBit) }
        switch (socket.family, socket.transport) {
        case (10, Self.icmp6): options.filter = words(try kernel.bytes(filter6, of: sock))
        case (10, _): if let checksum6 { options.hasChecksum = try kernel.value(checksum6, of: sock) != 0 }
        case (_, Self.icmp): options.filter = words(try kernel.bytes(filter, of: sock))
        default: break
        }
        return options
    }

    private func words(_ bytes: [UInt8]) -> [UInt32] {
        stride(from: 0, to: bytes.count - 3, by: 4).map { at in bytes[at..<at + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
    }
}
