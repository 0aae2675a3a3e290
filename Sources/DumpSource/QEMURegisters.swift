import Glibc
import GuestMemory

/// The registers of all vCPUs as QEMU's monitor prints them (`info registers -a`, target/i386/cpu-dump.c).
///
/// A memory dump holds no vCPU's floating point state, and the state of a task that was running is nowhere else.
public enum QEMURegisters {
    /// The largest text believed; one vCPU takes about 5 KiB.
    private static let sizeLimit = 16 << 20

    /// Reads the file at `path`.
    /// - Throws: `DumpError`.
    public static func read(path: String) throws -> [VCPUContext] {
        // The path is passed as a zero-terminated copy for the length of the call; the stream is closed below.
        guard let stream = unsafe fopen(path, "re") else { throw DumpError(description: "cannot open registers \(path)") }
        defer { unsafe fclose(stream) }
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while text.count < sizeLimit {
            // `fread` writes at most the chunk's size.
            let count = unsafe fread(&chunk, 1, chunk.count, stream)
            if count == 0 { break }
            text += chunk[..<count]
        }
        return parse(text)
    }

    /// Parses the text; a vCPU without registers is left out.
    public static func parse(_ text: [UInt8]) -> [VCPUContext] {
        var cpus: [VCPUContext] = []
        var current: CPU?
        for line in text.split(whereSeparator: { $0 == 10 || $0 == 13 }) {
            let line = String(decoding: line, as: UTF8.self)
            if line.hasPrefix("CPU#") {
                if let context = current?.context { cpus.append(context) }
                current = Int(line.dropFirst(4)).map { CPU(number: $0) }
            } else {
                current?.take(line)
            }
        }
        if let context = current?.context { cpus.append(context) }
        return cpus
    }

    /// One vCPU while its lines come in.
    private struct CPU {
        let number: Int
        var words: [String: [UInt64]] = [:]

        init(number: Int) { self.number = number }

        /// `NAME=word word …`, several times in a line, with blanks between name and `=` for short names.
        mutating func take(_ line: String) {
            var name: String?
            for token in line.split(separator: " ") {
                if let equals = token.firstIndex(of: "=") {
                    let before = String(token[..<equals]).filter { $0 != "[" }
                    let key = before.isEmpty ? name ?? "" : before
                    name = key
                    let value = token[token.index(after: equals)...].prefix { $0.isHexDigit }
                    words[key] = UInt64(value, radix: 16).map { [$0] } ?? []
                } else if let word = UInt64(token, radix: 16), let key = name, words[key] != nil {
                    words[key, default: []].append(word)
                } else {
                    name = String(token)
                }
            }
        }

        func first(_ name: String) -> UInt64 { words[name]?.first ?? 0 }

        /// A segment's base is the second word: `FS =selector base limit flags`.
        func base(_ name: String) -> UInt64 { words[name].flatMap { $0.count > 1 ? $0[1] : nil } ?? 0 }

        var context: VCPUContext? {
            guard words["RIP"] != nil else { return nil }
            var context = VCPUContext(
                number: number, instructionPointer: first("RIP"), stackPointer: first("RSP"), pageTableRoot: first("CR3"),
                fsBase: base("FS"), gsBase: base("GS"), shadowGSBase: .max, fxsave: fxsave, extended: extended)
            context.flags = first("RFL")
            context.codeSegment = first("CS")
            context.stackSegment = first("SS")
            context.general = [
                "R15", "R14", "R13", "R12", "RBP", "RBX", "R11", "R10", "R9", "R8", "RAX", "RCX", "RDX", "RSI", "RDI",
            ].map(first)
            return context
        }

        /// A vector register's 64-bit words, lowest first; QEMU prints the highest first.
        func vector(_ index: Int) -> [UInt64] {
            let digits = index < 10 ? "0\(index)" : "\(index)"
            return Array((words["ZMM" + digits] ?? words["YMM" + digits] ?? words["XMM" + digits] ?? []).reversed())
        }

        /// The legacy area (Intel SDM volume 1, table 10-2).
        var fxsave: [UInt8] {
            var area = [UInt8](repeating: 0, count: 512)
            func put(_ value: UInt64, _ bytes: Int, at offset: Int) {
                for index in 0..<bytes { area[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(index * 8)) }
            }
            put(first("FCW"), 2, at: 0)
            put(first("FSW"), 2, at: 2)
            put(first("FTW"), 1, at: 4)
            put(first("MXCSR"), 4, at: 24)
            put(0xffff, 4, at: 28)
            // QEMU prints physical registers, FXSAVE stores them from the top of the stack on.
            let top = Int(first("FSW") >> 11 & 7)
            for index in 0..<8 {
                let register = words["FPR\((top + index) & 7)"] ?? []
                put(register.first ?? 0, 8, at: 32 + index * 16)
                put(register.count > 1 ? register[1] : 0, 2, at: 40 + index * 16)
            }
            for index in 0..<16 {
                for (word, value) in vector(index).prefix(2).enumerated() { put(value, 8, at: 160 + index * 16 + word * 8) }
            }
            return area
        }

        var extended: [Int: [UInt8]] {
            var result: [Int: [UInt8]] = [:]
            func bytes(_ words: some Sequence<UInt64>) -> [UInt8] {
                words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) } }
            }
            func part(_ index: Int, _ range: Range<Int>) -> [UInt64] {
                let words = vector(index)
                return range.map { $0 < words.count ? words[$0] : 0 }
            }
            if vector(0).count >= 4 { result[2] = bytes((0..<16).flatMap { part($0, 2..<4) }) }
            if vector(0).count >= 8 {
                result[5] = bytes((0..<8).map { first("Opmask0\($0)") })
                result[6] = bytes((0..<16).flatMap { part($0, 4..<8) })
                result[7] = bytes((16..<32).flatMap { part($0, 0..<8) })
            }
            return result
        }
    }
}
