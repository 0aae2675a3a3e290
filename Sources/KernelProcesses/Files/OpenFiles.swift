import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    /// O_CLOEXEC belongs to the descriptor and is kept there.
    private static let closeOnExecFlag: UInt32 = 0o2000000
    /// __O_TMPFILE, and O_TMPFILE with O_DIRECTORY.
    private static let temporaryFlag: UInt32 = 0o20000000
    private static let temporaryFlags: UInt32 = 0o20200000
    /// FMODE_PATH: opened with O_PATH.
    private static let pathOnlyMode: UInt32 = 0x4000

    mutating func readFile(at address: VirtualAddress, id: FileID) throws(MemoryFault) -> OpenFile {
        let fields = layout.file
        let mode = try kernel.uint32(fields.mode, of: address)
        try checkFile(at: address, mode: mode, isPathOnly: mode & Self.pathOnlyMode != 0)
        var flags = try kernel.uint32(fields.flags, of: address) & ~(3 | Self.closeOnExecFlag)
        // FMODE_READ is 1 and FMODE_WRITE 2, so O_RDONLY, O_WRONLY and O_RDWR are the mode less one.
        if mode & 3 != 0 { flags |= (mode & 3) - 1 }
        let kind = try kind(ofFileAt: address, id: id, isPathOnly: mode & Self.pathOnlyMode != 0)
        // O_TMPFILE, which includes O_DIRECTORY, says how the file came to be; nobody can open it that way again.
        if flags & Self.temporaryFlag != 0, case .path(let node) = kind, node.type == .regular { flags &= ~Self.temporaryFlags }
        return OpenFile(
            kind: kind, flags: flags, position: try kernel.value(fields.position, of: address),
            owner: try owner(ofFileAt: address))
    }

    private func owner(ofFileAt address: VirtualAddress) throws(MemoryFault) -> FileOwner {
        let fields = layout.file
        var owner = FileOwner()
        var position = address + fields.owner.offset
        if fields.ownerIsPointer {
            position = try kernel.memory.pointer(at: position)
            if position.isNull { return owner }
        }
        owner.signal = try kernel.uint32(fields.ownerSignal, of: position)
        let pid = try kernel.pointer(fields.ownerPID, of: position)
        guard !pid.isNull else { return owner }
        owner.pid = try kernel.uint32(fields.pidNumbers, of: pid)
        owner.pidType = try kernel.uint32(fields.ownerPIDType, of: position)
        owner.uid = try kernel.uint32(fields.ownerUID, of: position)
        owner.effectiveUID = try kernel.uint32(fields.ownerEffectiveUID, of: position)
        return owner
    }

    private mutating func kind(
        ofFileAt address: VirtualAddress, id: FileID, isPathOnly: Bool
    ) throws(MemoryFault) -> OpenFile.Kind {
        let fields = layout.file
        let inode = try kernel.pointer(fields.inode, of: address)
        // A file opened with O_PATH has no operations of its own kind, it only names a place.
        if isPathOnly { return .path(try node(ofPathAt: address + fields.path.offset)) }
        switch operations.kind(at: try kernel.pointer(fields.operations, of: address)) {
        case .pipe:
            try checkPipe(at: kernel.pointer(fields.privateData, of: address), inode: inode)
            let pipe = try pipe(ofInode: inode, info: kernel.pointer(fields.privateData, of: address))
            let node = try node(ofPathAt: address + fields.path.offset)
            return try filesystem(ofInode: inode).isKernelInternal ? .pipe(pipe) : .fifo(node, pipe: pipe)
        case .socket:
            let socket = try kernel.pointer(fields.privateData, of: address)
            try checkSocket(at: socket, sock: kernel.pointer(layout.sockets.sock, of: socket), file: address)
            return try self.socket(at: socket, file: id)
        case .eventfd: return try eventCounter(at: kernel.pointer(fields.privateData, of: address))
        case .epoll: return try epoll(at: kernel.pointer(fields.privateData, of: address), file: id)
        case .timerfd: return try timer(at: kernel.pointer(fields.privateData, of: address))
        case .signalfd: return try signalMask(at: kernel.pointer(fields.privateData, of: address))
        case .inotify: return try inotify(at: kernel.pointer(fields.privateData, of: address))
        case .fanotify: return try fanotify(at: kernel.pointer(fields.privateData, of: address))
        case .sharedMemory where try filesystem(ofInode: inode).isKernelInternal:
            let memory = sharedMemory(ofInode: inode)
            if sharedMemory[memory]?.memfd != nil || isAnonymous(memory) { return .memfd(memory) }
            return .unsupported("System V shared memory")
        case .hugePages:
            // What nobody has mounted is a memfd's, or a mapping's without a file.
            return try filesystem(ofInode: inode).isKernelInternal
                ? .memfd(sharedMemory(ofInode: inode)) : .unsupported("file of a mounted hugetlbfs")
        case .terminal: return try terminalFile(at: address, isHungUp: false)
        case .namespace: return try namespaceFile(ofInode: inode)
        case .posixQueue: return try posixQueue(ofFileAt: address, inode: inode)
        case .pidfd: return try pidfd(of: kernel.pointer(fields.privateData, of: address))
        case .pidfsFile:
            guard let data = layout.namespaceFiles?.inodeData else { return .unsupported("pidfd") }
            return try pidfd(of: kernel.pointer(data, of: inode))
        case .hungUpTerminal: return try terminalFile(at: address, isHungUp: true)
        case .unsupported(let words): return .unsupported(words)
        case .sharedMemory, nil: return try fileInFilesystem(at: address, inode: inode, id: id)
        }
    }

    /// A descriptor of a process leads to its `struct pid` (kernel/fork.c, pidfd_prepare; since 6.9 fs/pidfs.c, pidfd_pid).
    private func pidfd(of pid: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        guard !pid.isNull else { return .unsupported("pidfd") }
        return .pidfd(process: try kernel.int32(layout.file.pidNumbers, of: pid))
    }

    /// A file whose operations belong to a filesystem or to the driver of a device.
    private mutating func fileInFilesystem(
        at address: VirtualAddress, inode: VirtualAddress, id: FileID
    ) throws(MemoryFault) -> OpenFile.Kind {
        let path = try path(ofFileAt: address)
        let filesystem = try filesystem(ofInode: inode)
        if filesystem.isKernelInternal {
            let dentry = try kernel.pointer(layout.paths.pathDentry, of: path)
            let name = KernelString(bytes: try kernel.name(of: dentry, layout: layout.paths))
            return .unsupported("\(filesystem.typeName) object \(name)")
        }
        let node = try node(ofPathAt: path)
        inodes[id] = inode
        switch node.type {
        case .regular, .directory, .symbolicLink: return .path(node)
        case .characterDevice(let major, let minor):
            if Self.isRestorableDevice(major: major, minor: minor) { return .path(node) }
            if Self.isTunnel(major: major, minor: minor), let tunnel = try tunnel(ofFileAt: address, node) { return tunnel }
            return .unsupported("character device \(major):\(minor) (\(node.path))")
        case .other: return .unsupported("\(Self.typeName(ofMode: node.mode)) \(node.path)")
        }
    }

    /// The `struct path` by which a program has a file. One that an overlay has opened below itself is the first member of a `struct backing_file`.
    private func path(ofFileAt address: VirtualAddress) throws(MemoryFault) -> VirtualAddress {
        let isBacking = try kernel.uint32(layout.file.mode, of: address) & Self.lowerFileMode != 0
        return address + (isBacking ? layout.file.userPath ?? layout.file.path : layout.file.path).offset
    }

    /// null, zero, full, random, urandom: devices without state, as good as new when they are opened again (drivers/char/mem.c).
    static func isRestorableDevice(major: UInt32, minor: UInt32) -> Bool { major == 1 && [3, 5, 7, 8, 9].contains(minor) }

    private static func typeName(ofMode mode: UInt32) -> String {
        switch mode & 0o170000 {
        case 0o060000: "block device"
        case 0o140000: "socket inode"
        case 0o010000: "named pipe"
        default: "object of mode 0\(String(mode, radix: 8))"
        }
    }
}
