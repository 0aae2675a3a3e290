import GuestMemory

/// How much is believed of the message queues and semaphores of one group, of System V and POSIX: a memory that lies has any number of them.
struct IPCBudget {
    private(set) var bytes = 64 << 20

    mutating func spend(_ count: Int, at place: VirtualAddress) throws(MemoryFault) {
        guard count <= bytes else {
            throw MemoryFault(.damaged("queues and semaphores of more bytes than are believed of a group"), at: place)
        }
        bytes -= count
    }
}
