import GuestMemory
import Testing

@Suite("Xen's save records of the vCPUs")
struct HVMContextTests {
    private func little(_ value: UInt64, _ size: Int) -> [UInt8] {
        (0..<size).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
    }

    private func record(_ type: UInt64, _ instance: UInt64, _ body: [UInt8]) -> [UInt8] {
        little(type, 2) + little(instance, 2) + little(UInt64(body.count), 4) + body
    }

    private func cpu(ip: UInt64) -> [UInt8] {
        var body = [UInt8](repeating: 0, count: 1032)
        for index in 0..<512 { body[index] = UInt8(truncatingIfNeeded: index &* 7) }
        func put(_ value: UInt64, at offset: Int) { body.replaceSubrange(offset..<offset + 8, with: little(value, 8)) }
        put(0xffff_c900_0000_1000, at: 568)
        put(ip, at: 640)
        put(0x1234_5000, at: 672)
        put(0x7f00_0000_0740, at: 832)
        put(0xffff_8880_0000_0000, at: 840)
        put(0x42, at: 944)
        return body
    }

    private func xsave(features: UInt64) -> [UInt8] {
        var body = [UInt8](repeating: 0, count: 24 + 576 + 256)
        body.replaceSubrange(24 + 512..<24 + 520, with: little(features, 8))
        for index in 0..<256 { body[24 + 576 + index] = UInt8(index) }
        return body
    }

    private var blob: [UInt8] {
        record(1, 0, [1, 2, 3, 4]) + record(2, 1, cpu(ip: 2)) + record(2, 0, cpu(ip: 1)) + record(5, 0, [9])
            + record(16, 1, xsave(features: 0b111)) + record(0, 0, [])
    }

    @Test func registersOfEachVCPU() throws {
        let contexts = try HVMContext.parse(blob)
        #expect(contexts.map(\.number) == [0, 1])
        #expect(contexts.map(\.instructionPointer) == [1, 2])
        let first = try #require(contexts.first)
        #expect(first.stackPointer == 0xffff_c900_0000_1000)
        #expect(first.pageTableRoot == 0x1234_5000)
        #expect(first.fsBase == 0x7f00_0000_0740)
        #expect(first.gsBase == 0xffff_8880_0000_0000)
        #expect(first.shadowGSBase == 0x42)
        #expect(first.fxsave == (0..<512).map { UInt8(truncatingIfNeeded: $0 &* 7) })
    }

    @Test func extendedStateOnlyWhereItIsPresent() throws {
        let contexts = try HVMContext.parse(blob)
        #expect(contexts[0].extended.isEmpty)
        #expect(contexts[1].extended == [2: (0..<256).map { UInt8($0) }])
        #expect(
            try HVMContext.parse(record(2, 0, cpu(ip: 1)) + record(16, 0, xsave(features: 7)) + record(0, 0, [])).first?
                .legacyComponents == 3)
        let unused = try HVMContext.parse(record(2, 0, cpu(ip: 1)) + record(16, 0, xsave(features: 0b110)) + record(0, 0, []))
        #expect(unused.first?.legacyComponents == 2)
        let without = try HVMContext.parse(record(2, 0, cpu(ip: 1)) + record(16, 0, xsave(features: 0b11)) + record(0, 0, []))
        #expect(without[0].extended.isEmpty)
    }

    @Test func everyTruncationIsDamageAndNeverATrap() {
        let whole = blob
        for length in 0..<whole.count {
            #expect(throws: HVMContext.Damage.self) { try HVMContext.parse(Array(whole.prefix(length))) }
        }
    }

    /// Knuth's linear congruential generator: the same mutations in every run.
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    @Test func mutationsNeverTrap() {
        var random = Seeded(state: 2026)
        for _ in 0..<500 {
            var bytes = blob
            for _ in 0..<4 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? HVMContext.parse(bytes)
        }
    }
}
