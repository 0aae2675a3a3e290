import GuestMemory

/// How much is believed of one network namespace: a memory that lies can lead in circles, through any number of devices and tables.
struct NetworkBudget {
    /// Tables, nodes of their trees with the places for further ones, routes, whether they are kept or not, and what devices are part of: each a read or few.
    private var steps = 1 << 22
    /// Of its devices, and of those in the guest that they lead to, which are read once for each of them.
    private(set) var addresses = 1 << 17

    mutating func spend(steps count: Int = 1, at place: VirtualAddress) throws(MemoryFault) {
        guard count <= steps else { throw MemoryFault(.damaged("network namespace without an end"), at: place) }
        steps -= count
    }

    mutating func spend(addresses count: Int, at place: VirtualAddress) throws(MemoryFault) {
        guard count <= addresses else { throw MemoryFault(.damaged("list of too many addresses"), at: place) }
        addresses -= count
    }
}
