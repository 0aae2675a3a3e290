import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

@Suite struct NetworkBudgetTests {
    /// Tables of many nodes, and devices of many addresses, count together.
    @Test func allOfANamespaceIsBoundedTogether() throws {
        let place = VirtualAddress(0xffff_8880_0100_0000)
        var budget = NetworkBudget()
        // 2^18 routes in each of the two families, with four places for each of them, are far from it.
        try budget.spend(steps: 1 << 21, at: place)
        try budget.spend(at: place)
        let (spent, limit) = (budget, 1 << 21)
        #expect(throws: MemoryFault.self) {
            var budget = spent
            try budget.spend(steps: limit, at: place)
        }
        try budget.spend(addresses: 1 << 16, at: place)
        #expect(budget.addresses >= 1 << 16)
        let rest = budget
        #expect(throws: MemoryFault.self) {
            var budget = rest
            try budget.spend(addresses: rest.addresses + 1, at: place)
        }
    }

    @Test func routesOfTheKernelAreKeptOfDevicesWhoseAddressesHaveNone() {
        func device(_ index: UInt32, _ bytes: [UInt8], flags: UInt32) -> NetworkDevice {
            var device = NetworkDevice(index: index, name: "eth0", mtu: 1500, flags: 1, isLoopback: false)
            var address = NetworkAddress(bytes: bytes, prefixLength: 24)
            address.flags = flags
            device.addresses = [NetworkAddress(bytes: bytes, prefixLength: 8), address]
            return device
        }
        var namespace = NetworkNamespace()
        namespace.devices = [
            device(2, [10, 0, 0, 1], flags: 0x280), device(3, [10, 0, 0, 2], flags: 0x80),
            device(4, Array(repeating: 1, count: 16), flags: 0x200),
        ]
        #expect(namespace.devicesWithoutPrefixRoutes(addressSize: 4) == [2])
        #expect(namespace.devicesWithoutPrefixRoutes(addressSize: 16) == [4])
    }
}
