/// The kinds of image files that CRIU reads, with their magic numbers (criu/include/magic.h) and names (criu/image-desc.c), both of 3.17.1
/// and unchanged in 4.2.
package enum ImageKind: UInt32, Sendable, CaseIterable {
    case inventory = 0x5831_3116
    case processTree = 0x5027_3030
    case identifiers = 0x5443_2030
    case core = 0x5505_3847
    case memory = 0x5749_2820
    case filesystem = 0x5140_3912
    case descriptors = 0x5621_3732
    case files = 0x5630_3138
    case pageMap = 0x5608_4025
    case pipeData = 0x5645_3709
    case fifoData = 0x5933_3054
    case socketQueues = 0x5626_4026
    case memfdInodes = 0x4845_3499
    case fileRemaps = 0x5913_3954
    case ghostFile = 0x5258_3605
    case cgroups = 0x5938_3330
    case timeNamespace = 0x4311_4433
    case fileLocks = 0x5432_3616
    case seccomp = 0x6441_3049
    case terminalInformation = 0x5945_3036
    case terminalData = 0x5941_3026
    case tcpStream = 0x5146_5506
    case utsNamespace = 0x5447_3203
    case networkNamespace = 0x5593_3752
    case networkDevices = 0x5737_3951
    case ipcVariables = 0x5311_5007
    case ipcSegments = 0x4628_3044
    case ipcMessages = 0x5545_3737
    case ipcSemaphores = 0x5957_3019
    case mounts = 0x5556_3928
    case userNamespace = 0x5547_4906

    /// IMG_COMMON_MAGIC, before the kind's own number in all files but the inventory.
    static let commonMagic: UInt32 = 0x5456_4319

    /// The bytes a file of this kind begins with.
    var header: [UInt8] {
        let words = self == .inventory ? [rawValue] : [Self.commonMagic, rawValue]
        return words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * UInt32($0))) } }
    }

    /// The kind of a file that begins with these bytes, and the length of its header.
    static func recognize(_ bytes: [UInt8]) -> (kind: ImageKind, headerLength: Int)? {
        func word(_ offset: Int) -> UInt32? {
            guard bytes.count >= offset + 4 else { return nil }
            return (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
        }
        guard let first = word(0) else { return nil }
        if first == ImageKind.inventory.rawValue { return (.inventory, 4) }
        guard first == commonMagic, let second = word(4), let kind = ImageKind(rawValue: second), kind != .inventory else {
            return nil
        }
        return (kind, 8)
    }
}
