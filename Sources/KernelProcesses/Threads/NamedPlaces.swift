import GuestMemory
import KernelObjects
import ProcessModel

/// A path that a program has given to a call: its components, and where it begins.
struct NamedPlace {
    /// Without those that are `.`; none is empty.
    var components: [[UInt8]]
    /// The dentry that it begins at: a directory of the program's, or its root.
    var base: VirtualAddress
    var isAbsolute: Bool
}

/// What a name stands for in the dead kernel's cache of names.
enum NameState {
    /// The dentry of something that is there.
    case leads(VirtualAddress)
    /// The kernel remembers that nothing is there, or not any more.
    case leadsNowhere
    case isUnknown
}

extension DeadKernel {
    /// - Returns: nil when the path cannot be read.
    func location(_ place: NamingCall.Place, of task: TaskAddress) throws(MemoryFault) -> NamedPlace? {
        guard let path = try userPath(at: VirtualAddress(place.path), of: task) else { return nil }
        let components = path.split(separator: UInt8(ascii: "/")).map(Array.init).filter { $0 != [UInt8(ascii: ".")] }
        let files = layout.files
        let isAbsolute = path.first == UInt8(ascii: "/")
        let start: VirtualAddress
        if isAbsolute || place.directory == NamingCall.workingDirectory {
            let context = files.filesystemContext
            let field = isAbsolute ? context.root : context.workingDirectory
            start = try reader.pointer(layout.task.fs, of: task) + field.offset
        } else {
            guard let file = try file(ofDescriptor: place.directory, of: task) else { return nil }
            start = file + files.file.path.offset
        }
        return NamedPlace(
            components: components, base: try reader.pointer(files.paths.pathDentry, of: start), isAbsolute: isAbsolute)
    }

    /// A path in a task's own memory; nil when it has no end within PATH_MAX, or is not all there.
    private func userPath(at address: VirtualAddress, of task: TaskAddress) throws(MemoryFault) -> [UInt8]? {
        var path: [UInt8] = []
        while path.count < 4096 {
            let at = address + path.count
            guard let bytes = try userBytes(at: at, count: FrameNumber.size - at.offsetInPage, of: task) else { return nil }
            if let end = bytes.firstIndex(of: 0) { return path + bytes[..<end] }
            path += bytes
        }
        return nil
    }

    /// What the kernel addresses that a call holds say about a place's last name.
    ///
    /// Where the path leads through symbolic links and mounts it is not followed; then the dentry that the call has looked up, and holds, is known by its name.
    func state(of place: NamedPlace, heldBy held: [VirtualAddress]) -> NameState {
        guard let name = place.components.last, name != Array("..".utf8) else { return .isUnknown }
        var directory: VirtualAddress? = place.base
        for component in place.components.dropLast() {
            guard let current = directory else { break }
            if case .leads(let next) = state(of: component, in: current), isPlainDirectory(next) {
                directory = next
            } else {
                directory = nil
            }
        }
        if let directory { return state(of: name, in: directory) }
        let named = Set(held.filter { $0.rawValue % 8 == 0 && isNamed($0, name) })
        // What earlier calls have left on the stack is told by the directory above it, where that is not a link or a mount.
        let near: Set<VirtualAddress> =
            place.components.count > 1 ? named.filter { isBelow(place.components[place.components.count - 2], $0) } : []
        let candidates = near.isEmpty ? named : near
        if let dentry = candidates.first(where: isThere) { return .leads(dentry) }
        return candidates.isEmpty ? .isUnknown : .leadsNowhere
    }

    /// What a directory's dentry knows of a name.
    private func state(of name: [UInt8], in directory: VirtualAddress) -> NameState {
        let walk = FilesystemWalk(kernel: reader, layout: layout.files)
        guard let children = try? walk.children(of: directory) else { return .isUnknown }
        let named = children.filter { isNamed($0, name) }
        if let dentry = named.first(where: isThere) { return .leads(dentry) }
        return named.isEmpty ? .isUnknown : .leadsNowhere
    }

    private func isNamed(_ dentry: VirtualAddress, _ name: [UInt8]) -> Bool {
        let paths = layout.files.paths
        // Whatever a word on the stack leads to is no fault of the kernel's.
        guard let length = try? reader.uint32(paths.dentryNameLength, of: dentry), Int(length) == name.count else {
            return false
        }
        return (try? reader.name(of: dentry, layout: paths)) == name
    }

    private func isBelow(_ name: [UInt8], _ dentry: VirtualAddress) -> Bool {
        guard let parent = try? reader.pointer(layout.files.paths.dentryParent, of: dentry) else { return false }
        return isNamed(parent, name)
    }

    /// Whether a dentry's name leads to something that has not been removed.
    private func isThere(_ dentry: VirtualAddress) -> Bool {
        let files = layout.files
        guard let inode = try? reader.pointer(files.paths.dentryInode, of: dentry), !inode.isNull,
            let isUnhashed = try? reader.isUnhashed(dentry, layout: files.paths), !isUnhashed,
            let links = try? reader.uint32(files.inode.links, of: inode)
        else { return false }
        return links > 0
    }

    /// Whether what is below a dentry is below it in its own filesystem: no symbolic link, and nothing mounted on it.
    private func isPlainDirectory(_ dentry: VirtualAddress) -> Bool {
        let files = layout.files
        guard let flags = try? reader.uint32(files.paths.dentryFlags, of: dentry), flags & files.catchUp.mountedBit == 0,
            let inode = try? reader.pointer(files.paths.dentryInode, of: dentry),
            let mode = try? reader.uint32(files.inode.mode, of: inode)
        else { return false }
        return mode & 0o170000 == 0o040000
    }
}
