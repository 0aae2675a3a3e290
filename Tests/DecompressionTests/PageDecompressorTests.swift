import CCompression
import Decompression
import Testing

/// Pages as kernels compress them, and bytes that no kernel wrote.
@Suite struct PageDecompressorTests {
    /// Eight times three bytes of a number, and zeros to the next 512.
    static let sparse: [UInt8] = (1...8).flatMap { (number: UInt8) -> [UInt8] in
        [number, number, number] + [UInt8](repeating: 0, count: 509)
    }

    /// `sparse` as lzorle1x_1_compress and lzo1x_1_compress of Linux 6.1 and LZ4_compress_default make of it.
    static let samples: [(CompressionFormat, [UInt8])] = [
        (
            .lzo,
            bytes(
                "11010201010100001fffff3e02020219ffff3f03030319ffff3f04040419ffff3f05050519ffff3f06060619ffff3f07070719ffff3f0808081dfcff3c00"
                    + "020000000000000000000000000000000000000000110000")
        ),
        (
            .lzo,
            bytes(
                "030101010000002000da03000202022000daf007030000000303032000ddff070404042000ddff070505052000ddff070606062000ddff070707072000dd"
                    + "ff070808082000ccfc070e0000000000000000000000000000000000110000")
        ),
        (
            .lz4,
            bytes(
                "4f010101000100ffea3f020202ff01ffea4f000303030002ffeb3f0404040002ffeb3f0505050002ffeb3f0606060002ffeb3f0707070002ffeb3f080808"
                    + "0002ffe6500000000000")
        ),
        (.zstd, compressed(sparse, .zstd)),
    ]

    static func bytes(_ digits: String) -> [UInt8] {
        stride(from: 0, to: digits.utf8.count, by: 2).map {
            UInt8(String(digits.dropFirst($0).prefix(2)), radix: 16) ?? 0
        }
    }

    static func compressed(_ page: [UInt8], _ format: CompressionFormat) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: 2 * page.count)
        var work = [UInt8](repeating: 0, count: 16 * 8192 + 64)
        let size: Int = unsafe result.withUnsafeMutableBytes { target in
            // Twice the size is more than what cannot be compressed needs, and lzo1x_1 has the work memory that it wants.
            unsafe page.withUnsafeBytes { source in
                if format == .zstd {
                    return unsafe ZSTD_compress(target.baseAddress, target.count, source.baseAddress, source.count, 3)
                }
                var size = lzo_uint(target.count)
                _ = unsafe lzo1x_1_compress(source.baseAddress, lzo_uint(source.count), target.baseAddress, &size, &work)
                return Int(size)
            }
        }
        return Array(result.prefix(size))
    }

    @Test func whatKernelsCompressedIsThePageAgain() throws {
        let decompressor = PageDecompressor()
        for (format, bytes) in Self.samples { #expect(try decompressor.page(from: bytes, format) == Self.sparse) }
    }

    @Test(arguments: [CompressionFormat.lzo, .zstd]) func pagesOfEachKindComeBack(format: CompressionFormat) throws {
        var random = SplitMix(state: 7)
        let decompressor = PageDecompressor()
        for _ in 0..<200 {
            let page = random.page()
            #expect(try decompressor.page(from: Self.compressed(page, format), format) == page)
        }
    }

    @Test func cutShortTheyAreNoPages() {
        let decompressor = PageDecompressor()
        for (format, bytes) in Self.samples {
            for count in 0..<bytes.count {
                #expect(throws: CompressionFault.self) { try decompressor.page(from: Array(bytes.prefix(count)), format) }
            }
        }
    }

    /// Each byte of them replaced, and bytes by chance: that is a page or a fault, and the process goes on.
    @Test func damagedTheyAreFaultsOrPages() {
        var random = SplitMix(state: 11)
        let decompressor = PageDecompressor()
        for (format, bytes) in Self.samples {
            for index in bytes.indices {
                for value in [0, 1, 17, 31, 127, 255, UInt8(truncatingIfNeeded: random.next())] {
                    var damaged = bytes
                    damaged[index] = value
                    if let page = try? decompressor.page(from: damaged, format) { #expect(page.count == 4096) }
                }
            }
            for _ in 0..<2000 {
                let made = (0..<Int(random.next() % 300)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                if let page = try? decompressor.page(from: made, format) { #expect(page.count == 4096) }
            }
        }
    }

    @Test(arguments: [
        // A copy before there is anything to copy, and one from before the start.
        (CompressionFormat.lzo, "120055010011000000"), (.lz4, "1f000500ff"),
        // More than a page: literals, zeros of the second version, a repetition.
        (.lzo, "000000000000000000000000000000000000000001"), (.lzo, "1101120018ffffff18ffffff18ffffff110000"),
        (.lz4, "1f000100ffffffffffffffffffffffffffffffffffff00"),
        // A version that nobody has defined, an end with bytes behind it, one of another length, a distance of 0.
        (.lzo, "1102010000"), (.lzo, "11000000"), (.lzo, "120012000000"), (.lz4, "10000000"), (.zstd, "28b52ffd00"),
    ]) func impossibleOnesAreFaults(format: CompressionFormat, digits: String) {
        #expect(throws: CompressionFault.self) { try PageDecompressor().page(from: Self.bytes(digits), format) }
    }

    @Test func algorithmsHaveTheirNames() {
        #expect(CompressionFormat(algorithm: "lzo-rle") == .lzo)
        #expect(CompressionFormat(algorithm: "lz4hc") == .lz4)
        #expect(CompressionFormat(algorithm: "842") == nil)
    }
}

/// Steele, Lea and Flood's SplitMix64, so that a failure comes again.
private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
        return word ^ word >> 31
    }

    /// Stretches of chance, of zeros, of one byte, and of what was before.
    mutating func page() -> [UInt8] {
        var page: [UInt8] = []
        while page.count < 4096 {
            let count = min(Int(next() % 500) + 1, 4096 - page.count)
            let kind = next() % 4
            let value = UInt8(truncatingIfNeeded: next())
            for _ in 0..<count {
                switch kind {
                case 0: page.append(UInt8(truncatingIfNeeded: next()))
                case 1: page.append(0)
                case 2: page.append(value)
                default: page.append(page.count > Int(value) ? page[page.count - 1 - Int(value)] : value)
                }
            }
        }
        return page
    }
}
