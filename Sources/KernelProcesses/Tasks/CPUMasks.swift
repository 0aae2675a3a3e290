import GuestMemory
import KernelObjects

extension DeadKernel {
    /// How many CPUs the kernel may have; 0 where it does not say. More than 8192 (NR_CPUS of MAXSMP) are not believed.
    func possibleCPUs() throws(MemoryFault) -> UInt32 {
        guard let address = manifest.symbols.addresses["nr_cpu_ids"] else { return 0 }
        return min(try reader.memory.integer(at: address), 8192)
    }

    /// The words of a `struct cpumask`. It has room for more CPUs than there are, if it is as long as its type, and nobody clears what is behind them.
    /// - Parameter limit: how many bytes the mask has at most.
    func cpuMask(at address: VirtualAddress, limit: Int) throws(MemoryFault) -> [UInt64] {
        let possible = min(Int(try possibleCPUs()), limit * 8)
        var words: [UInt64] = []
        for index in 0..<(possible + 63) / 64 {
            let word: UInt64 = try reader.memory.integer(at: address + index * 8)
            let rest = possible - index * 64
            words.append(rest >= 64 ? word : word & (1 << UInt64(rest) - 1))
        }
        return words
    }
}
