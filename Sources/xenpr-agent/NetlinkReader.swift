/// Attributes of a netlink message that somebody else has written: what is cut off or too long is not there.
struct NetlinkReader {
    let bytes: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

    /// All of them, in their order.
    var all: [(type: UInt16, value: NetlinkReader)] {
        var found: [(UInt16, NetlinkReader)] = []
        var rest = bytes
        while rest.count >= 4 {
            let head = Array(rest.prefix(4))
            let length = Int(head[0]) | Int(head[1]) << 8
            guard length >= 4, length <= rest.count else { break }
            // Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
            let type = (UInt16(head[2]) | UInt16(head[3]) << 8) & 0x3fff
            found.append((type, NetlinkReader(rest.dropFirst(4).prefix(length - 4))))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return found
    }

    /// The first of a type.
    subscript(_ type: UInt16) -> NetlinkReader? { all.first { $0.type == type }?.value }

    var elements: [NetlinkReader] { all.map(\.value) }

    /// A name, of letters, digits, "-" and "_", with the zero byte at its end; nil: it is none.
    var text: String? {
        let name = bytes.prefix { $0 != 0 }
        let isPlain = name.allSatisfy { byte in
            UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
                || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
        }
        return !name.isEmpty && name.count <= 32 && isPlain ? String(decoding: name, as: UTF8.self) : nil
    }
}
