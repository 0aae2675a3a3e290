import ProcessModel

/// Headers of a tar archive in GNU's form, which has room for long names and large numbers.
enum TarHeader {
    static let blockSize = 512

    enum Kind: UInt8 {
        case regular = 0x30
        case hardLink = 0x31
        case symbolicLink = 0x32
        case characterDevice = 0x33
        case blockDevice = 0x34
        case directory = 0x35
        case namedPipe = 0x36
        /// A member whose contents are the next one's name, or the name that its link leads to.
        case longName = 0x4c
        case longLink = 0x4b
    }

    /// The header of an entry, with those that hold its long names.
    ///
    /// - Parameter link: the name that it leads to.
    static func blocks(
        _ kind: Kind, _ entry: MemoryFilesystem.Entry, size: UInt64 = 0, link: [UInt8] = [], device: (UInt32, UInt32) = (0, 0)
    ) -> [UInt8] {
        // "./" and a name: what stands in front of the root's members.
        var name = Array("./".utf8) + entry.path.bytes
        if kind == .directory, name.last != UInt8(ascii: "/") { name.append(UInt8(ascii: "/")) }
        var blocks: [UInt8] = []
        if link.count > 100 { blocks += long(.longLink, link) }
        if name.count > 100 { blocks += long(.longName, name) }
        return blocks + block(kind, name: name, entry, size: size, link: link, device: device)
    }

    /// The two empty blocks at the end of an archive.
    static let end: [UInt8] = Array(repeating: 0, count: 2 * blockSize)

    /// What fills the last block of a member's contents.
    static func padding(after size: UInt64) -> Int { (blockSize - Int(size % UInt64(blockSize))) % blockSize }

    private static func long(_ kind: Kind, _ name: [UInt8]) -> [UInt8] {
        let text = name + [0]
        let nobody = MemoryFilesystem.Entry(path: "", kind: .regular, inode: 0, mode: 0)
        let size = UInt64(text.count)
        return block(kind, name: Array("././@LongLink".utf8), nobody, size: size, link: [], device: (0, 0)) + text
            + Array(repeating: 0, count: padding(after: size))
    }

    private static func block(
        _ kind: Kind, name: [UInt8], _ entry: MemoryFilesystem.Entry, size: UInt64, link: [UInt8], device: (UInt32, UInt32)
    ) -> [UInt8] {
        var block: [UInt8] = []
        func field(_ bytes: [UInt8], _ width: Int) {
            block += bytes.prefix(width) + Array(repeating: 0, count: max(0, width - bytes.count))
        }
        field(name, 100)
        field(number(UInt64(entry.mode), 8), 8)
        field(number(UInt64(entry.uid), 8), 8)
        field(number(UInt64(entry.gid), 8), 8)
        field(number(size, 12), 12)
        field(number(UInt64(clamping: entry.modifiedSeconds), 12), 12)
        // The sum of all bytes, taken with blanks in its own place.
        let sumPlace = block.count
        field(Array(repeating: UInt8(ascii: " "), count: 8), 8)
        block.append(kind.rawValue)
        field(link, 100)
        field(Array("ustar  ".utf8), 8)
        // Names of user and group.
        field([], 64)
        field(number(UInt64(device.0), 8), 8)
        field(number(UInt64(device.1), 8), 8)
        field([], blockSize - block.count)
        let sum = block.reduce(UInt64(0)) { $0 + UInt64($1) }
        block.replaceSubrange(sumPlace..<sumPlace + 8, with: number(sum, 7) + [UInt8(ascii: " ")])
        return block
    }

    /// Octal digits and a zero byte, or, where they are too few, 0x80 and a big-endian number.
    private static func number(_ value: UInt64, _ width: Int) -> [UInt8] {
        let digits = Array(String(value, radix: 8).utf8)
        if digits.count < width {
            return Array(repeating: UInt8(ascii: "0"), count: width - 1 - digits.count) + digits + [0]
        }
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * UInt64($0))) }
        let significant = bytes.suffix(min(8, width - 1))
        return [0x80] + Array(repeating: 0, count: width - 1 - significant.count) + significant
    }
}
