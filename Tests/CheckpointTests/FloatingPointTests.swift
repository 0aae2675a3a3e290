import ProcessModel
import Testing

/// What XSAVE leaves out is in its initial state, whatever stands in its place.
@Suite struct FloatingPointTests {
    private let garbage = [UInt8](repeating: 0xa5, count: 512)

    private func words(_ area: [UInt8]) -> (control: Int, mxcsr: Int, register: UInt8, vector: UInt8) {
        (Int(area[0]) | Int(area[1]) << 8, Int(area[24]) | Int(area[25]) << 8, area[32], area[160])
    }

    @Test func whatIsThereStays() { #expect(FloatingPointState.legacyArea(garbage, present: 3) == garbage) }

    @Test func anUnusedFPUHasItsControlWord() {
        let area = words(FloatingPointState.legacyArea(garbage, present: 2))
        #expect(area.control == 0x37f && area.register == 0 && area.vector == 0xa5 && area.mxcsr == 0xa5a5)
    }

    @Test func vectorsThatNobodyUsedAreZero() {
        let area = words(FloatingPointState.legacyArea(garbage, present: 1))
        #expect(area.control == 0xa5a5 && area.vector == 0 && area.mxcsr == 0x1f80)
        let withAVX = words(FloatingPointState.legacyArea(garbage, present: 5))
        #expect(withAVX.vector == 0 && withAVX.mxcsr == 0xa5a5, "MXCSR is AVX's too")
    }
}
