/// A block of LZ4 (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md): literals and repeated pieces in turn, literals last.
enum LZ4Decoder {
    static func decode(_ bytes: [UInt8]) throws(CompressionFault) -> [UInt8] {
        var input = CompressedInput(bytes)
        var output = PageOutput()
        while true {
            let token = try input.byte()
            let literals = try token >> 4 == 15 ? input.lengthBeyond(15, full: 255, worth: 255) : token >> 4
            try output.append(input.take(literals))
            if input.remaining == 0 { return output.bytes }
            let distance = try input.word()
            let count = try token & 15 == 15 ? input.lengthBeyond(15, full: 255, worth: 255) : token & 15
            try output.repeatBytes(from: distance, count: count + 4)
        }
    }
}
