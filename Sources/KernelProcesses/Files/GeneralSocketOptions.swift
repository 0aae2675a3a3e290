import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// Options of SOL_SOCKET that CRIU does not save (criu/sockets.c of 3.17 and 4.1 names those that it does), for sockets of every family. Their numbers are
/// those of include/uapi/asm-generic/socket.h; `sk_setsockopt` of net/core/sock.c sets them.
struct GeneralOptionLayout: Sendable {
    private static let level: Int32 = 1

    private var always: [KeptSocketOption] = []
    /// Since Linux 6.16; of unix sockets, other families have something else there.
    private let passesPidfd: Field?
    /// `socket->flags`, which had it before: SOCK_PASSPIDFD of include/linux/net.h, bit 7 from Linux 6.5 to 6.15 and no bit of older ones.
    private let socketFlags: Field?
    private let flags: Field?
    /// `enum sock_flags`.
    private let stampBit: Int64?
    private let nanosecondsBit: Int64?
    private let newStampBit: Int64?
    private let stampKinds: Field?

    init(_ types: TypeTable) {
        let sock = try? types.structure("sock")
        flags = sock?.optional("__sk_common.skc_flags")
        stampBit = types.enumerator("SOCK_RCVTSTAMP")
        nanosecondsBit = types.enumerator("SOCK_RCVTSTAMPNS")
        newStampBit = types.enumerator("SOCK_TSTAMP_NEW")
        stampKinds = sock?.optional("sk_tsflags")
        passesPidfd = sock?.optional("sk_scm_pidfd")
        socketFlags = (try? types.structure("socket"))?.optional("flags")
        for (name, number, flag) in [
            ("SO_RXQ_OVFL", 40, "RXQ_OVFL"), ("SO_WIFI_STATUS", 41, "WIFI_STATUS"), ("SO_NOFCS", 43, "NOFCS"),
            ("SO_SELECT_ERR_QUEUE", 45, "SELECT_ERR_QUEUE"), ("SO_ZEROCOPY", 60, "ZEROCOPY"), ("SO_RCVMARK", 75, "RCVMARK"),
            ("SO_RCVPRIORITY", 82, "RCVPRIORITY"),
        ] as [(String, Int32, String)] {
            guard let flags, let bit = types.enumerator("SOCK_\(flag)"), 0..<64 ~= bit else { continue }
            always.append(
                KeptSocketOption(
                    name: name, level: Self.level, number: number, field: flags, mask: 1 << UInt64(bit), value: { _ in 1 }))
        }
        if let field = sock?.optional("sk_ll_usec") {
            always.append(KeptSocketOption(name: "SO_BUSY_POLL", level: Self.level, number: 46, field: field))
        }
        // ~0: no limit. In four bytes before Linux 4.20.
        if let field = sock?.optional("sk_max_pacing_rate"), field.size == 8 {
            always.append(
                KeptSocketOption(name: "SO_MAX_PACING_RATE", level: Self.level, number: 47, field: field, unset: .max))
        }
        // -1: a look ahead begins at the front.
        if let field = sock?.optional("sk_peek_off") {
            always.append(
                KeptSocketOption(
                    name: "SO_PEEK_OFF", level: Self.level, number: 42, field: field, unset: 0xffff_ffff, mask: 0xffff_ffff))
        }
    }

    /// The options that were set on a `struct sock` and its `struct socket`.
    func late(
        of sock: VirtualAddress, socket: VirtualAddress, isUnix: Bool, _ kernel: KernelReader
    ) throws(MemoryFault) -> [LateSocketOption] {
        var options = try kernel.options(set: always, at: sock) + stamps(of: sock, kernel)
        if isUnix, try passesPidfd(sock, socket, kernel) {
            options.append(LateSocketOption(name: "SO_PASSPIDFD", level: Self.level, number: 76, value: .number(1)))
        }
        return options
    }

    private func passesPidfd(
        _ sock: VirtualAddress, _ socket: VirtualAddress, _ kernel: KernelReader
    ) throws(MemoryFault) -> Bool {
        if let passesPidfd { return try kernel.value(passesPidfd, of: sock) != 0 }
        return try socketFlags.map { field throws(MemoryFault) in try kernel.value(field, of: socket) >> 7 & 1 == 1 } ?? false
    }

    /// The time at which something was received (socket(7), Documentation/networking/timestamping.rst); each option has an older and a newer number,
    /// by the size of time that the program understands.
    private func stamps(of sock: VirtualAddress, _ kernel: KernelReader) throws(MemoryFault) -> [LateSocketOption] {
        guard let flags else { return [] }
        let word = try kernel.value(flags, of: sock)
        func isSet(_ bit: Int64?) -> Bool { bit.map { 0..<64 ~= $0 && word >> UInt64($0) & 1 == 1 } ?? false }
        let isNew = isSet(newStampBit)
        func option(_ name: String, _ old: Int32, _ new: Int32, _ value: UInt64) -> LateSocketOption {
            LateSocketOption(
                name: name, level: Self.level, number: isNew ? new : old,
                value: .number(Int32(truncatingIfNeeded: UInt32(clamping: value))))
        }
        var options: [LateSocketOption] = []
        if isSet(stampBit) {
            options.append(isSet(nanosecondsBit) ? option("SO_TIMESTAMPNS", 35, 64, 1) : option("SO_TIMESTAMP", 29, 63, 1))
        }
        if let field = stampKinds {
            let kinds = try kernel.value(field, of: sock)
            if kinds != 0 { options.append(option("SO_TIMESTAMPING", 37, 65, kinds)) }
        }
        return options
    }
}
