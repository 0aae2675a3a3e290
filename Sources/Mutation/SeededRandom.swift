/// SplitMix64: the same numbers in each run, so that each mutation can be made again from its seed and number.
public struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    /// The numbers of one mutation, whatever mutations were made before it.
    public init(seed: UInt64, index: Int) {
        state = seed
        state = next() ^ (UInt64(truncatingIfNeeded: index) &* 0xd6e8_feb8_6659_fd93)
        state = next()
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    /// A number below `limit`, which must not be 0.
    mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
}
