/// LZO1X as Linux writes it, in both versions of its stream: version 1, "lzo-rle", has runs of zeros and cannot be read by liblzo2. Written after the
/// description in Documentation/staging/lzo.rst (Linux 6.12), whose words it uses.
enum LZODecoder {
    /// The instruction that ends the stream: a copy of 3 bytes from distance 16384, which has no other meaning.
    private static let end = (instruction: 17, distance: 16384)
    /// The distance that stands for a run of zeros in version 1.
    private static let zeroRun = 0xbfff
    /// `state` behind a run of 4 literals and more.
    private static let manyLiterals = 4

    static func decode(_ bytes: [UInt8]) throws(CompressionFault) -> [UInt8] {
        var input = CompressedInput(bytes)
        var output = PageOutput()
        var version = 0
        // Literals behind the last instruction, on which the meaning of the lowest codes depends.
        var state = 0

        var code = try input.byte()
        if code == 17, bytes.count >= 5 {
            version = try input.byte()
            guard version <= 1 else { throw CompressionFault("LZO stream of version \(version)") }
            code = try input.byte()
        }
        if code > 17 {
            let count = code - 17
            try output.append(input.take(count))
            state = min(count, manyLiterals)
            code = try input.byte()
        }

        while true {
            let literals: Int
            switch code {
            case 0..<16 where state == 0:
                let count = try 3 + (code != 0 ? code : input.lengthBeyond(15, full: 0, worth: 255))
                try output.append(input.take(count))
                state = manyLiterals
                code = try input.byte()
                continue
            case 0..<16:
                let distance = try input.byte() << 2 + code >> 2
                if state == manyLiterals {
                    try output.repeatBytes(from: distance + 2049, count: 3)
                } else {
                    try output.repeatBytes(from: distance + 1, count: 2)
                }
                literals = code & 3
            case 16..<32:
                let far = (code & 8) << 11
                if version == 1, far != 0, let word = input.nextWord, 16384 + far + word >> 2 == zeroRun {
                    literals = try input.word() & 3
                    try output.appendZeros(input.byte() << 3 + code & 7 + 4)
                    break
                }
                let count = try 2 + (code & 7 != 0 ? code & 7 : input.lengthBeyond(7, full: 0, worth: 255))
                let word = try input.word()
                let distance = 16384 + far + word >> 2
                if distance == end.distance {
                    guard code == end.instruction, input.remaining == 0 else {
                        throw CompressionFault("LZO stream ends in its middle")
                    }
                    return output.bytes
                }
                try output.repeatBytes(from: distance, count: count)
                literals = word & 3
            case 32..<64:
                let count = try 2 + (code & 31 != 0 ? code & 31 : input.lengthBeyond(31, full: 0, worth: 255))
                let word = try input.word()
                try output.repeatBytes(from: word >> 2 + 1, count: count)
                literals = word & 3
            default:
                // 64…127: 3 and 4 bytes, 128…255: 5 to 8 of them.
                try output.repeatBytes(from: input.byte() << 3 + (code >> 2) & 7 + 1, count: code >> 5 + 1)
                literals = code & 3
            }
            try output.append(input.take(literals))
            state = literals
            code = try input.byte()
        }
    }
}
