import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// An option of sockets, where the kernel keeps it, and what it is when nobody has set it.
struct KeptSocketOption: Sendable {
    /// For people: `TCP_NODELAY`.
    var name: String
    /// IPPROTO_*, SOL_*.
    var level: Int32
    var number: Int32
    var field: Field
    var unset: UInt64 = 0
    var mask = UInt64.max
    /// From what the kernel keeps to what it is told.
    var value: @Sendable (UInt64) -> UInt64 = { $0 }
}

extension KernelReader {
    /// Those of the options that were set in the structure at `address`.
    func options(set options: [KeptSocketOption], at address: VirtualAddress) throws(MemoryFault) -> [LateSocketOption] {
        var found: [LateSocketOption] = []
        for option in options {
            let value = try self.value(option.field, of: address) & option.mask
            guard value != option.unset else { continue }
            // setsockopt(2) takes 32 bits, with or without a sign.
            let number = Int32(truncatingIfNeeded: UInt32(clamping: option.value(value)))
            found.append(
                LateSocketOption(name: option.name, level: option.level, number: option.number, value: .number(number)))
        }
        return found
    }
}

/// Which algorithm a TCP connection avoids congestion with (`struct tcp_congestion_ops`, include/net/tcp.h).
struct CongestionControlLayout: Sendable {
    let isChosen: Field
    let operations: Field
    let name: Field

    init(_ types: TypeTable) throws(KernelError) {
        let sock = try types.structure("inet_connection_sock")
        isChosen = try sock.field("icsk_ca_setsockopt")
        operations = try sock.field("icsk_ca_ops")
        name = try types.structure("tcp_congestion_ops").field("name")
    }

    /// The name where TCP_CONGESTION chose it; nil: the system's default, or what a route says.
    func chosenName(of sock: VirtualAddress, _ kernel: KernelReader) throws(MemoryFault) -> String? {
        guard try kernel.value(isChosen, of: sock) != 0 else { return nil }
        let bytes = try kernel.bytes(name, of: kernel.pointer(operations, of: sock)).prefix { $0 != 0 }
        // It becomes part of the name of a module that the new kernel loads.
        let isName = bytes.allSatisfy { byte in
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
                || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
        }
        return isName && !bytes.isEmpty ? String(decoding: bytes, as: UTF8.self) : nil
    }
}
