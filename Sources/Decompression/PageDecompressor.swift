/// How a page was compressed that lies in the memory of a kernel.
public enum CompressionFormat: Hashable, Sendable {
    /// LZO1X as Linux has it, with runs of zeros and without.
    case lzo
    /// A block of LZ4.
    case lz4
    /// A frame of Zstandard.
    case zstd

    /// - Parameter name: of the algorithm in the kernel's crypto API; nil for one that is not understood.
    public init?(algorithm name: String) {
        switch name {
        case "lzo", "lzo-rle": self = .lzo
        case "lz4", "lz4hc": self = .lz4
        case "zstd": self = .zstd
        default: return nil
        }
    }
}

/// What is wrong with a compressed page.
public struct CompressionFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// Lower case.
    public var description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// Makes pages of what they were compressed to. What it is given may be anything: it becomes a page or a fault.
public final class PageDecompressor {
    /// Bytes of a page.
    public static let pageSize = 4096

    private var zstd: ZstdDecoder?

    public init() {}

    /// The 4096 bytes that were compressed.
    public func page(from bytes: [UInt8], _ format: CompressionFormat) throws(CompressionFault) -> [UInt8] {
        let page =
            switch format {
            case .lzo: try LZODecoder.decode(bytes)
            case .lz4: try LZ4Decoder.decode(bytes)
            case .zstd: try decoder().decode(bytes)
            }
        guard page.count == Self.pageSize else {
            throw CompressionFault("\(page.count) bytes where a page has \(Self.pageSize)")
        }
        return page
    }

    private func decoder() throws(CompressionFault) -> ZstdDecoder {
        if let zstd { return zstd }
        guard let made = ZstdDecoder() else { throw CompressionFault("no memory for zstd") }
        zstd = made
        return made
    }
}
