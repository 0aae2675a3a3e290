import GuestMemory
import KernelTypes

extension KernelReader {
    /// The objects on a `struct list_head` (include/linux/list.h), without the head.
    ///
    /// Each node must point back to the one before it, as the kernel promises; a cycle that does not come back to the head
    /// breaks that promise sooner or later, and `limit` ends the walk in any case.
    /// - Parameters:
    ///   - head: the address of the list's head.
    ///   - link: where the `list_head` lies in each object.
    ///   - limit: the most objects believed.
    ///   - body: gets the address of each object.
    /// - Returns: why the walk ended early, nil when it came back to the head.
    public func forEach(
        onList head: VirtualAddress, link: Field, limit: Int, _ body: (VirtualAddress) -> Void
    ) -> MemoryFault? {
        var previous = head
        var seen = 0
        do throws(MemoryFault) {
            var node = try memory.pointer(at: head)
            while node != head {
                guard seen < limit else { throw MemoryFault(.damaged("list of more than \(limit) objects"), at: node) }
                guard try memory.pointer(at: node + 8) == previous else {
                    throw MemoryFault(.damaged("list node does not point back to its predecessor"), at: node)
                }
                body(container(of: node, link))
                seen += 1
                previous = node
                node = try memory.pointer(at: node)
            }
            return nil
        } catch {
            return error
        }
    }

    /// The objects on a `struct hlist_head`; the same promises, with `pprev` in place of `prev`.
    public func forEach(
        onHashList head: VirtualAddress, link: Field, limit: Int, _ body: (VirtualAddress) -> Void
    ) -> MemoryFault? {
        var previous = head
        var seen = 0
        do throws(MemoryFault) {
            var node = try memory.pointer(at: head)
            while !node.isNull {
                guard seen < limit else { throw MemoryFault(.damaged("list of more than \(limit) objects"), at: node) }
                guard try memory.pointer(at: node + 8) == previous else {
                    throw MemoryFault(.damaged("hash list node does not point back to its predecessor"), at: node)
                }
                body(container(of: node, link))
                seen += 1
                previous = node
                node = try memory.pointer(at: node)
            }
            return nil
        } catch {
            return error
        }
    }

    /// The nodes of a red-black tree in order (include/linux/rbtree.h); `root` is the address of the `rb_node *`.
    public func forEach(
        inRedBlackTree root: VirtualAddress, link: Field, layout: RedBlackTreeLayout, limit: Int,
        _ body: (VirtualAddress) -> Void
    ) -> MemoryFault? {
        var stack: [VirtualAddress] = []
        var seen = 0
        do throws(MemoryFault) {
            var node = try memory.pointer(at: root)
            while !node.isNull || !stack.isEmpty {
                while !node.isNull {
                    guard stack.count < 128 else { throw MemoryFault(.damaged("tree deeper than 128 nodes"), at: node) }
                    stack.append(node)
                    node = try pointer(layout.left, of: node)
                }
                node = stack.removeLast()
                guard seen < limit else { throw MemoryFault(.damaged("tree of more than \(limit) nodes"), at: node) }
                seen += 1
                body(container(of: node, link))
                node = try pointer(layout.right, of: node)
            }
            return nil
        } catch {
            return error
        }
    }
}

/// `struct rb_node`.
public struct RedBlackTreeLayout: Hashable, Sendable {
    public let left: Field
    public let right: Field

    public init(_ types: TypeTable) throws(KernelError) {
        let node = try types.structure("rb_node")
        left = try node.field("rb_left")
        right = try node.field("rb_right")
    }
}
