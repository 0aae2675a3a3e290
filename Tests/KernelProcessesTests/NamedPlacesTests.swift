import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

/// Paths that programs have given to calls, looked for in a dead kernel's cache of names.
@Suite struct NamedPlacesTests {
    let kernel: SyntheticKernel
    let directory: VirtualAddress
    let file: VirtualAddress

    init() throws {
        kernel = try SyntheticKernel()
        directory = kernel.dentry("dir", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        file = kernel.dentry("file", in: directory, inode: kernel.inode(mode: 0o100644))
    }

    private func place(_ path: String, directory: UInt64 = NamingCall.workingDirectory) throws -> NamedPlace? {
        let address = kernel.setUserText(path, at: 0)
        return try kernel.dead.location(NamingCall.Place(directory: directory, path: address), of: kernel.task)
    }

    /// What a path leads to: `nil` for nothing, and for what is not known.
    private func found(_ path: String, heldBy held: [VirtualAddress] = []) throws -> VirtualAddress? {
        guard let place = try place(path), case .leads(let dentry) = kernel.dead.state(of: place, heldBy: held) else {
            return nil
        }
        return dentry
    }

    private func leadsNowhere(_ path: String, heldBy held: [VirtualAddress] = []) throws -> Bool {
        guard let place = try place(path), case .leadsNowhere = kernel.dead.state(of: place, heldBy: held) else { return false }
        return true
    }

    private func isUnknown(_ path: String, heldBy held: [VirtualAddress] = []) throws -> Bool {
        guard let place = try place(path), case .isUnknown = kernel.dead.state(of: place, heldBy: held) else { return false }
        return true
    }

    @Test func pathsBeginAtTheRootOrTheWorkingDirectory() throws {
        let context = try kernel.dead.reader.pointer(kernel.layout.task.fs, of: kernel.task)
        let field = kernel.layout.files.filesystemContext.workingDirectory
        kernel.set(kernel.layout.files.paths.pathDentry, of: context + field.offset, to: directory.rawValue)
        let absolute = try #require(try place("/dir/./file"))
        #expect(absolute.base == kernel.root && absolute.isAbsolute)
        #expect(absolute.components == ["dir", "file"].map { Array($0.utf8) })
        let relative = try #require(try place(".//file/"))
        #expect(relative.base == directory && !relative.isAbsolute && relative.components == [Array("file".utf8)])
        #expect(try found("file") == file && found("/file") == nil)
    }

    @Test func pathsBeginAtADescriptorsDirectory() throws {
        let open = kernel.object()
        let path = kernel.layout.files.file.path
        kernel.set(kernel.layout.files.paths.pathDentry, of: open + path.offset, to: directory.rawValue)
        kernel.setDescriptors([nil, open])
        #expect(try place("file", directory: 1)?.base == directory)
        #expect(try place("/file", directory: 1)?.base == kernel.root)
        #expect(try place("file", directory: 0) == nil && place("file", directory: 2) == nil)
    }

    @Test func aPathThatIsNotAllThereIsNone() throws {
        let memory = SyntheticKernel.userMemory
        #expect(
            try kernel.dead.location(.init(directory: NamingCall.workingDirectory, path: 0x7000_0000), of: kernel.task) == nil)
        kernel.memory.place(Array(repeating: 0x6161_6161_6161_6161, count: 1024), at: memory)
        let call = NamingCall.Place(directory: NamingCall.workingDirectory, path: memory.rawValue)
        #expect(try kernel.dead.location(call, of: kernel.task) == nil, "longer than a path can be")
    }

    @Test func namesAreLookedForInTheirDirectories() throws {
        #expect(try found("/dir/file") == file)
        #expect(try found("dir") == directory)
        #expect(try isUnknown("/dir/other") && isUnknown("/file") && isUnknown("/dir/..") && isUnknown("/"))
        kernel.dentry("gone", in: directory, inode: nil)
        #expect(try leadsNowhere("/dir/gone"))
        kernel.dentry("removed", in: directory, inode: kernel.inode(mode: 0o100644, links: 0))
        #expect(try leadsNowhere("/dir/removed"))
        let again = kernel.dentry("removed", in: directory, inode: kernel.inode(mode: 0o100644))
        #expect(try found("/dir/removed") == again, "made again")
    }

    /// A symbolic link or a mount leads elsewhere than below its own name: then it is what the call holds that is known by its name.
    @Test func behindLinksAndMountsIsWhatTheCallHolds() throws {
        let elsewhere = kernel.dentry("elsewhere", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        let real = kernel.dentry("file", in: elsewhere, inode: kernel.inode(mode: 0o100644))
        let link = kernel.dentry("link", in: kernel.root, inode: kernel.inode(mode: 0o120777))
        kernel.dentry("file", in: link, inode: kernel.inode(mode: 0o100644))
        #expect(try isUnknown("/link/file"))
        #expect(try found("/link/file", heldBy: [real]) == real)
        #expect(try found("/link/file", heldBy: [real + 4, kernel.root, VirtualAddress(0xffff_8fff_0000_0000)]) == nil)
        let mounted = kernel.dentry("mount", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        kernel.dentry("file", in: mounted, inode: kernel.inode(mode: 0o100644))
        kernel.set(kernel.layout.files.paths.dentryFlags, of: mounted, to: UInt64(kernel.layout.files.catchUp.mountedBit))
        #expect(try found("/mount/file", heldBy: [real]) == real)
    }

    @Test func whatEarlierCallsHaveLeftIsToldByItsDirectory() throws {
        kernel.dentry("link", in: kernel.root, inode: kernel.inode(mode: 0o120777))
        let stale = kernel.dentry("file", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        let deep = kernel.dentry("deep", in: directory, inode: kernel.inode(mode: 0o040755))
        let gone = kernel.dentry("file", in: deep, inode: nil)
        #expect(try leadsNowhere("/link/deep/file", heldBy: [stale, gone]))
        #expect(try found("/link/deep/file", heldBy: [stale]) == stale, "nothing nearer is held")
    }
}
