import GuestMemory
import KernelObjects
import KernelTypes
import SyntheticMemory
import Testing

@testable import KernelProcesses

/// Session keyrings in a dead kernel: which of them hold more than every login is given.
@Suite struct KeyringTests {
    let memory = SyntheticMemory()
    let layout: KeyringLayout
    let keyring = VirtualAddress(0xffff_8880_0001_0000)
    let node = VirtualAddress(0xffff_8880_0001_1000)
    let shortcut = VirtualAddress(0xffff_8880_0001_2000)
    let keys = VirtualAddress(0xffff_8880_0002_0000)

    init() throws {
        var types = SyntheticTypes()
        let long = types.integer("unsigned long", size: 8)
        let pointer = types.pointer(to: long)
        let slots = types.array(of: pointer, count: 16)
        let name = types.structure("keyring_index_key", size: 40, [("hash", long, 0), ("description", pointer, 32)])
        let array = types.structure("assoc_array", size: 16, [("root", pointer, 0), ("nr_leaves_on_tree", long, 8)])
        _ = types.structure("key", size: 56, [("index_key", name, 0), ("keys", array, 40)])
        _ = types.structure("assoc_array_node", size: 152, [("slots", slots, 16), ("nr_leaves_on_branch", long, 144)])
        _ = types.structure("assoc_array_shortcut", size: 24, [("back_pointer", pointer, 0), ("next_node", pointer, 16)])
        _ = types.structure(
            "cred", size: 24,
            [("session_keyring", pointer, 0), ("process_keyring", pointer, 8), ("thread_keyring", pointer, 16)])
        layout = try #require(KeyringLayout(try TypeTable(btf: types.bytes)))
    }

    /// A key, or a keyring of `count` keys, as a slot of a node has it.
    func leaf(_ number: Int, _ description: String, isKeyring: Bool = false, count: UInt64 = 0) -> UInt64 {
        let address = keys + number * 4096
        let bytes = Array(description.utf8)
        let words: [UInt64] = stride(from: 0, to: bytes.count + 1, by: 8).map { start in
            bytes[start..<min(start + 8, bytes.count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        memory.place(words, at: address + 2048)
        memory.place([0, 0, 0, 0, (address + 2048).rawValue, 0, count], at: address)
        return address.rawValue | (isKeyring ? 2 : 0)
    }

    func holdsKeys(_ slots: [UInt64], root: UInt64? = nil, count: UInt64 = 1) throws(MemoryFault) -> Bool {
        memory.place([0, 0, 0, 0, 0, root ?? node.rawValue | 1, count], at: keyring)
        memory.place([0, 0] + slots + Array(repeating: 0, count: 17 - slots.count), at: node)
        let reader = KernelReader(
            memory: VirtualMemory(source: memory, tables: memory.tables), symbols: SymbolTable(addresses: [:]))
        return try reader.holdsKeys(keyring, layout)
    }

    @Test func whatEveryLoginIsGivenIsNoLoss() throws {
        let user = leaf(0, "_uid.0", isKeyring: true, count: 3)
        let invocation = leaf(1, "invocation_id")
        let empty = leaf(2, "own", isKeyring: true)
        #expect(try !holdsKeys([], root: 0, count: 0))
        #expect(try !holdsKeys([user, 0, invocation, empty], count: 3))
    }

    @Test func keysThatSomebodyPutThereAre() throws {
        let user = leaf(0, "_uid.0", isKeyring: true, count: 3)
        #expect(try holdsKeys([user, leaf(1, "invocation_id_2")], count: 2))
        #expect(try holdsKeys([user, 0, leaf(2, "")], count: 2))
        #expect(try holdsKeys([leaf(3, "own", isKeyring: true, count: 1)]))
        // Another node, as there is one behind the sixteenth key.
        #expect(try holdsKeys([user, node.rawValue | 1], count: 17))
    }

    @Test func looksBehindAShortcut() throws {
        memory.place([0, 0, node.rawValue | 1], at: shortcut)
        #expect(try !holdsKeys([leaf(0, "_uid.0", isKeyring: true, count: 1)], root: shortcut.rawValue | 3))
        #expect(try holdsKeys([leaf(1, "secret")], root: shortcut.rawValue | 3))
    }

    @Test func throwsAtWhatCannotBe() {
        #expect(throws: MemoryFault.self) { try holdsKeys([], root: 0) }
        memory.place([0, 0, shortcut.rawValue | 3], at: shortcut)
        #expect(throws: MemoryFault.self) { try holdsKeys([], root: shortcut.rawValue | 3) }
        #expect(throws: MemoryFault.self) { try holdsKeys([0xdead_0000_0000_0000]) }
    }
}
