import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// The keyrings of `struct cred`, `struct key` (include/linux/key.h), and the array in which a keyring has its keys
/// (include/linux/assoc_array_priv.h).
struct KeyringLayout: Sendable {
    let thread, process, session: Field
    let description: Field
    let keyCount: Field
    let root: Field
    let slots: Field
    let nextNode: Field

    /// nil where the kernel keeps no keys (CONFIG_KEYS).
    init?(_ types: TypeTable) {
        guard let cred = try? types.structure("cred"), let key = try? types.structure("key"),
            let node = try? types.structure("assoc_array_node"), let shortcut = try? types.structure("assoc_array_shortcut"),
            let thread = cred.optional("thread_keyring"), let process = cred.optional("process_keyring"),
            let session = cred.optional("session_keyring"),
            let description = key.optional("index_key.description") ?? key.optional("description"),
            let keyCount = key.optional("keys.nr_leaves_on_tree"), let root = key.optional("keys.root"),
            let slots = node.optional("slots"), let nextNode = shortcut.optional("next_node")
        else { return nil }
        self.thread = thread
        self.process = process
        self.session = session
        self.description = description
        self.keyCount = keyCount
        self.root = root
        self.slots = slots
        self.nextNode = nextNode
    }
}

extension DeadKernel {
    /// The keyrings of a thread that are lost with the kernel.
    func keyrings(of task: TaskAddress) throws(MemoryFault) -> Keyrings {
        guard let fields = layout.keyrings else { return [] }
        let cred = try credentialsAddress(of: task)
        var result: Keyrings = []
        if try !reader.pointer(fields.thread, of: cred).isNull { result.insert(.thread) }
        if try !reader.pointer(fields.process, of: cred).isNull { result.insert(.process) }
        let session = try reader.pointer(fields.session, of: cred)
        if !session.isNull, sessionHoldsKeys(session, fields) { result.insert(.session) }
        return result
    }

    /// All processes of a login have one session keyring, so it is looked into once. One that cannot be read is told as lost, and
    /// refuses nobody.
    private func sessionHoldsKeys(_ keyring: VirtualAddress, _ fields: KeyringLayout) -> Bool {
        if let known = knownSessionKeyrings[keyring] { return known }
        let holdsKeys: Bool
        do throws(MemoryFault) { holdsKeys = try reader.holdsKeys(keyring, fields) } catch {
            gaps.append(Gap(object: "session keyring at \(keyring)", field: "key.keys", fault: error))
            holdsKeys = true
        }
        knownSessionKeyrings[keyring] = holdsKeys
        return holdsKeys
    }
}

/// A pointer in an associative array, whose two lowest bits say what it leads to (include/linux/assoc_array_priv.h; for leaves
/// KEYRING_PTR_SUBTYPE of security/keys/keyring.c).
private struct KeyArrayPointer {
    let word: UInt64

    var isEmpty: Bool { word == 0 }
    var isKeyring: Bool { word & 3 == 2 }
    var isNode: Bool { word & 3 == 1 }
    var isShortcut: Bool { word & 3 == 3 }
    var address: VirtualAddress { VirtualAddress(word & ~3) }
}

extension KernelReader {
    /// ASSOC_ARRAY_FAN_OUT.
    private static let slotLimit = 16
    /// The longest description that is compared; a key's may have 4095 bytes.
    private static let descriptionLimit = 64

    /// Whether a session keyring holds anything but what logins and services begin with.
    func holdsKeys(_ keyring: VirtualAddress, _ fields: KeyringLayout) throws(MemoryFault) -> Bool {
        if try value(fields.keyCount, of: keyring) == 0 { return false }
        var top = KeyArrayPointer(word: try value(fields.root, of: keyring))
        if top.isShortcut { top = KeyArrayPointer(word: try value(fields.nextNode, of: top.address)) }
        guard top.isNode else { throw MemoryFault(.damaged("keyring without a node for its keys"), at: keyring) }
        for index in 0..<min(fields.slots.count, Self.slotLimit) {
            let slot = KeyArrayPointer(word: try value(fields.slots.element(index), of: top.address))
            if slot.isEmpty { continue }
            // More keys than a node has room for.
            if slot.isNode || slot.isShortcut { return true }
            if try !isGivenToAll(slot, fields) { return true }
        }
        return false
    }

    /// A login links the user's keyring into that of its session (pam_keyinit), under the name `_uid.N`
    /// (security/keys/process_keys.c). systemd puts the id of a service's invocation there, and may link the same keyring.
    /// A keyring without keys is nothing to lose.
    private func isGivenToAll(_ leaf: KeyArrayPointer, _ fields: KeyringLayout) throws(MemoryFault) -> Bool {
        let text = try pointer(fields.description, of: leaf.address)
        let description = try memory.string(at: text, limit: Self.descriptionLimit)
        guard leaf.isKeyring else { return description == "invocation_id" }
        if description.hasPrefix("_uid") { return true }
        return try value(fields.keyCount, of: leaf.address) == 0
    }
}
