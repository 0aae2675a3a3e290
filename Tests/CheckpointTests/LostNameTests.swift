import ProcessModel
import Testing

@testable import Checkpoint

/// A file of a tmpfs whose name was removed, and that has another one.
@Suite struct LostNameTests {
    private func link(
        to path: KernelString = "/shown/dir/file", root: KernelString = "/part", inode: UInt64 = 7,
        _ change: (inout FileNode, inout Mount) -> Void = { _, _ in }
    ) -> LostNames.Link? {
        var group = SyntheticGroup().group
        var mount = Mount(id: 30, parentID: 1, device: 42, typeName: "tmpfs", source: "none", root: root, point: "/shown")
        var node = FileNode(path: path, type: .regular, isDeleted: true, device: 42, inode: inode, mode: 0o100600)
        node.hasHiddenName = true
        node.mountID = 30
        change(&node, &mount)
        let entries: [MemoryFilesystem.Entry] = [
            .init(path: "", kind: .directory, inode: 1, mode: 0o755),
            .init(path: "part", kind: .directory, inode: 2, mode: 0o755),
            .init(path: "part/dir", kind: .directory, inode: 3, mode: 0o755),
            .init(path: "other", kind: .regular, inode: 7, mode: 0o600),
        ]
        group.mountNamespaces[9] = MountNamespace(mounts: [mount], memoryFilesystems: [42: MemoryFilesystem(entries: entries)])
        return LostNames(group).link(for: node, number: 5)
    }

    @Test func itGetsANameInTheDirectoryOfTheLostOne() {
        #expect(link()?.path == "/shown/dir/.xenpr-5" && link()?.entry.path == "part/dir/.xenpr-5")
        #expect(link()?.entry.inode == 7 && link()?.device == 42)
        let top = link(to: "/shown/file", root: "/")
        #expect(top?.path == "/shown/.xenpr-5" && top?.entry.path == ".xenpr-5")
    }

    @Test func elsewhereItGetsNone() {
        #expect(link(to: "/shown/gone/file") == nil, "the directory is gone too")
        #expect(link(inode: 8) == nil, "nothing has a name that leads to it")
        #expect(link { node, _ in node.hasHiddenName = false } == nil)
        #expect(link { node, _ in node.mountID = 31 } == nil)
        #expect(link { _, mount in mount.guestPath = "/run" } == nil, "the guest's own is not filled from an archive")
    }
}
