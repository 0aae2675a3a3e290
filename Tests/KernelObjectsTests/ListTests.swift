import GuestMemory
import KernelObjects
import KernelTypes
import SyntheticMemory
import Testing

/// Containers of a dead kernel, whole and damaged: what is damaged ends the walk and is said; nothing hangs or traps.
@Suite struct ListTests {
    let memory = SyntheticMemory()
    let head = VirtualAddress(0xffff_8880_0001_0000)

    var reader: KernelReader {
        KernelReader(memory: VirtualMemory(source: memory, tables: memory.tables), symbols: SymbolTable(addresses: [:]))
    }

    /// A list of `count` nodes, 64 bytes apart behind the head.
    func makeList(_ count: Int) -> [VirtualAddress] {
        let nodes = (0...count).map { head + $0 * 64 }
        for (index, node) in nodes.enumerated() {
            let next = nodes[(index + 1) % nodes.count]
            let previous = nodes[(index + nodes.count - 1) % nodes.count]
            memory.place([next.rawValue, previous.rawValue], at: node)
        }
        return Array(nodes.dropFirst())
    }

    func walk(limit: Int = 100) -> (found: [VirtualAddress], fault: MemoryFault?) {
        var found: [VirtualAddress] = []
        let fault = reader.forEach(onList: head, link: Field(offset: 0, size: 16), limit: limit) { found.append($0) }
        return (found, fault)
    }

    @Test func visitsAllInOrder() {
        let nodes = makeList(5)
        let (found, fault) = walk()
        #expect(found == nodes)
        #expect(fault == nil)
    }

    @Test func anEmptyListHasNone() {
        _ = makeList(0)
        #expect(walk().found.isEmpty)
    }

    @Test func aCycleIsFoundAtTheNodeThatClosesIt() {
        let nodes = makeList(5)
        memory.place([nodes[1].rawValue], at: nodes[3])
        let (found, fault) = walk()
        #expect(found == Array(nodes[0...3]))
        #expect(fault?.place == .virtual(nodes[1]))
    }

    @Test func aPointerToNowhereIsAFault() {
        let nodes = makeList(5)
        memory.place([0xdead_0000_0000_0100], at: nodes[2])
        let (found, fault) = walk()
        #expect(found == Array(nodes[0...2]))
        #expect(fault != nil)
    }

    @Test func theLimitHolds() {
        _ = makeList(50)
        let (found, fault) = walk(limit: 10)
        #expect(found.count == 10)
        #expect(fault != nil)
    }
}
