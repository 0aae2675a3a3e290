import GuestMemory
import KernelObjects
import ProcessModel

/// How much is believed and saved of files that a disk had not yet in full.
public struct FileCatchUpLimits: Sendable {
    /// Changes are looked for in what changed this long before the crash, beyond the time until dirty pages are written: for ext4 commits its journal every 5 s, XFS
    /// its log every 30 s, and both wait for a disk that is busy.
    public var recentSeconds: UInt64 = 60
    /// Of a file that changed recently this many bytes of its cache are saved, changed or not: pages can have reached the disk while the journal did
    /// not yet say that they belong to the file. A bigger file's changed pages and its last bytes are saved.
    public var cachedBytesPerFile: UInt64 = 64 << 20
    public var totalBytes: UInt64 = 1 << 30
    public var files = 1 << 17

    public init() {}
}

extension DeadKernel {
    /// Lends the pages of a catch-up.
    public func fileCatchUpPages() -> KernelPages { KernelPages(kernel: self) }

    /// Files on disks whose last changes were only in the dead kernel's memory.
    ///
    /// Left out are files that somebody outside the groups had open for writing, for a new life of that somebody will write to them anew.
    public func fileCatchUp(for groups: [ProtectedGroup], limits: FileCatchUpLimits = FileCatchUpLimits()) -> FileCatchUp {
        var walk = DirtyFileWalk(kernel: self, groups: groups, limits: limits)
        walk.run()
        gaps += walk.files.gaps
        return walk.result()
    }
}

/// Collects what `FileCatchUp` says, filesystem by filesystem.
struct DirtyFileWalk {
    let dead: DeadKernel
    let kernel: KernelReader
    let layout: FileLayout
    let limits: FileCatchUpLimits
    let frames: FrameTable
    /// Inodes that changed at this second or later changed recently.
    let recentSince: UInt64
    var files: FilesystemWalk
    var catchUp = FileCatchUp()
    /// Paths that lead to something, whatever it is.
    var present: Set<[UInt8]> = []
    private var held: Set<InodeIdentity> = []
    /// Places in the guest's memory that the groups have mounted: all that is in them is needed.
    private var heldPlaces: Set<KernelString> = []
    /// Names that unix sockets of the groups are bound to.
    private var socketNames: Set<[UInt8]> = []
    private var savedPages: UInt64 = 0
    private var listedNames = 0
    /// nil: not understood.
    private let ext4: Ext4Layout?

    private static let inodeLimit = 1 << 24
    /// Names in all listings.
    private static let nameLimit = 1 << 17
    private static let emptiedAtBoot: [UInt8] = Array("/tmp/".utf8)

    init(kernel: DeadKernel, groups: [ProtectedGroup], limits: FileCatchUpLimits) {
        dead = kernel
        self.kernel = kernel.reader
        layout = kernel.layout.files
        self.limits = limits
        frames = FrameTable(kernel: kernel.reader, layout: layout.pages)
        ext4 = (try? kernel.moduleTypes("ext4") ?? kernel.manifest.types).flatMap(Ext4Layout.init)
        files = FilesystemWalk(kernel: kernel.reader, layout: layout)
        let now = ((try? kernel.clocks())?.realtimeNanoseconds ?? 0) / 1_000_000_000
        let window = limits.recentSeconds + Self.writebackSeconds(kernel)
        recentSince = now > window ? now - window : 0
        for group in groups { hold(group) }
    }

    /// Until dirty pages are written: vm.dirty_expire_centisecs and vm.dirty_writeback_centisecs, 35 s unless somebody has set them.
    private static func writebackSeconds(_ kernel: DeadKernel) -> UInt64 {
        let parts = [("dirty_expire_interval", UInt32(3000)), ("dirty_writeback_interval", 500)].map { name, usual in
            let address = kernel.manifest.symbols.addresses[name]
            return address.flatMap { try? kernel.reader.memory.integer(at: $0, as: UInt32.self) } ?? usual
        }
        return parts.reduce(UInt64(0)) { $0 + UInt64($1) } / 100
    }

    /// Notes what the processes of a group depend on.
    private mutating func hold(_ group: ProtectedGroup) {
        for file in group.openFiles.values {
            switch file.kind {
            case .path(let node), .fifo(let node, _):
                held.insert(InodeIdentity(device: node.device, inode: node.inode))
                if let layer = node.layer { held.insert(layer) }
            case .unixSocket(let socket): if let name = socket.address?.name { socketNames.insert(name.bytes) }
            default: break
            }
        }
        for thread in group.processes.flatMap(\.threads) { held.formUnion(thread.interruptedCall.filesInHand) }
        for mount in group.mountNamespaces.values.flatMap(\.mounts) where mount.showsLostMemory {
            if let place = mount.guestPath { heldPlaces.insert(place) }
        }
        for node in group.filesystemContexts.values.flatMap({ [$0.workingDirectory, $0.root] }) {
            held.insert(InodeIdentity(device: node.device, inode: node.inode))
        }
    }

    mutating func run() {
        for filesystem in files.volatileFilesystems() {
            var inodes: [VirtualAddress] = []
            let list = filesystem.identity.superblock + layout.superblock.inodes.offset
            if let fault = kernel.forEach(
                onList: list, link: layout.inode.listLink, limit: Self.inodeLimit, { inodes.append($0) })
            {
                files.note(fault, object: "filesystem at \(KernelString(bytes: filesystem.mountPoint))", field: "s_inodes")
                catchUp.faults[filesystem.identity.device] = "\(fault)"
            }
            // Those of the groups first, for there is a limit to what is saved.
            inodes = inodes.filter { isHeld($0, in: filesystem) } + inodes.filter { !isHeld($0, in: filesystem) }
            let directories = directories(of: filesystem)
            let known = catchUp.entries.count
            for inode in inodes {
                do throws(MemoryFault) {
                    if filesystem.isForeign {
                        try lookForHeld(at: inode, in: filesystem)
                    } else if filesystem.isInMemory {
                        try lookInMemory(at: inode, in: filesystem)
                    } else {
                        try look(at: inode, in: filesystem, directories)
                    }
                } catch {
                    files.note(error, object: "inode \(inode)", field: "inode")
                    if isHeld(inode, in: filesystem) { catchUp.faults[filesystem.identity.device] = "\(error)" }
                }
            }
            if !filesystem.isInMemory, catchUp.entries.count > known {
                catchUp.mountPoints.append(KernelString(bytes: filesystem.mountPoint))
            }
            if filesystem.isInMemory, catchUp.entries.count > known { add(filesystem) }
        }
        for device in Set(held.map(\.device)).subtracting(files.devices) {
            catchUp.faults[device] = "device \(device >> 20):\(device & 0xfffff) is of no filesystem that could be read"
        }
    }

    /// A file of a group on a filesystem that is not followed: whether it is there as the group left it nobody knows when it changed within the last moments.
    private mutating func lookForHeld(at inode: VirtualAddress, in filesystem: MountedFilesystem) throws(MemoryFault) {
        guard isHeld(inode, in: filesystem), try kernel.uint32(layout.inode.mode, of: inode) & 0o170000 == 0o100000 else {
            return
        }
        let isRecent = try kernel.value(layout.inode.changedSeconds, of: inode) >= recentSince
        let isChanged = try files.mayHaveChangedPages(kernel.pointer(layout.inode.mapping, of: inode))
        guard isRecent || isChanged, let name = try files.aliases(of: inode).first else { return }
        let path = try kernel.path(mount: filesystem.mount, dentry: name, layout: layout.paths)
        omit(
            KernelString(bytes: path.bytes),
            "it changed shortly before the crash, and what of \(filesystem.identity.typeName) had not left the guest's memory is lost",
            isHeld: true, inode, filesystem)
    }

    private func isHeld(_ inode: VirtualAddress, in filesystem: MountedFilesystem) -> Bool {
        guard let number = try? kernel.value(layout.inode.number, of: inode) else { return false }
        return held.contains(InodeIdentity(device: filesystem.identity.device, inode: number))
    }

    /// Has a tmpfs of which something is needed mounted again, unless every boot mounts it.
    private mutating func add(_ filesystem: MountedFilesystem) {
        let point = KernelString(bytes: filesystem.mountPoint)
        guard !Mount.memoryOfTheGuest.contains(point), let layout = dead.layout.mounts else { return }
        do throws(MemoryFault) {
            let mount = filesystem.mount - layout.embedded.offset
            let source = try kernel.pointer(layout.source, of: mount)
            catchUp.mounts.append(
                FileCatchUp.MemoryMount(
                    path: point,
                    source: KernelString(source.isNull ? "none" : try kernel.memory.string(at: source, limit: 4096)),
                    options: try kernel.mountOptions(
                        ofSuperblock: filesystem.identity.superblock, type: filesystem.identity.typeName, layout),
                    flags: MountFlags.forMount(try kernel.value(layout.flags, of: mount)), device: filesystem.identity.device))
        } catch {
            files.note(error, object: "filesystem at \(point)", field: "mnt_devname")
        }
    }

    /// What was found, in the order in which it is to be applied.
    consuming func result() -> FileCatchUp {
        catchUp.entries.sort { $0.path.bytes.lexicographicallyPrecedes($1.path.bytes) }
        catchUp.mounts.sort { $0.path.bytes.lexicographicallyPrecedes($1.path.bytes) }
        let present = self.present
        catchUp.removals.removeAll { present.contains($0.path.bytes) }
        var seen: Set<FileCatchUp.Removal> = []
        catchUp.removals.removeAll { !seen.insert($0).inserted }
        catchUp.removals.sort { $0.path.bytes.lexicographicallyPrecedes($1.path.bytes) }
        return catchUp
    }

    private mutating func directories(of filesystem: MountedFilesystem) -> Ext4Directories? {
        guard filesystem.identity.typeName == "ext4", let ext4 else { return nil }
        do throws(MemoryFault) {
            return try Ext4Directories(
                superblock: filesystem.identity.superblock, kernel: kernel, files: layout, layout: ext4)
        } catch {
            files.note(error, object: "filesystem at \(KernelString(bytes: filesystem.mountPoint))", field: "s_bdev")
            return nil
        }
    }

    private mutating func look(
        at inode: VirtualAddress, in filesystem: MountedFilesystem, _ directories: Ext4Directories?
    ) throws(MemoryFault) {
        let fields = layout.inode
        let mode = try kernel.uint32(fields.mode, of: inode)
        let type = mode & 0o170000
        // The change time moves with every write, rename, link and unlink, and no program can set it.
        let isRecent = try kernel.value(fields.changedSeconds, of: inode) >= recentSince
        let mapping = try kernel.pointer(fields.mapping, of: inode)
        guard type != 0 else { return }
        let isChanged = type == 0o100000 ? try files.mayHaveChangedPages(mapping) : false
        let number = try kernel.value(fields.number, of: inode)
        let isHeld = held.contains(InodeIdentity(device: filesystem.identity.device, inode: number))
        // An inode that is not yet or no longer one (I_NEW, I_FREEING) has no name, so its state, whose bits have moved more than once, need not be asked.
        guard isRecent || isChanged || isHeld else { return }

        var names: [VirtualAddress] = []
        var isHidden = filesystem.isPart
        for alias in try files.aliases(of: inode) {
            // What the guest sees only a part of has no path there elsewhere, and what is below another mount is not seen: its path leads into that.
            guard try files.shows(filesystem, alias) else {
                isHidden = true
                continue
            }
            if try !kernel.isUnhashed(alias, layout: layout.paths) {
                names.append(alias)
            } else if try kernel.pointer(layout.paths.dentryParent, of: alias) != alias {
                let path = try kernel.path(mount: filesystem.mount, dentry: alias, layout: layout.paths)
                catchUp.removals.append(FileCatchUp.Removal(path: KernelString(bytes: path.bytes), inode: number))
            }
        }
        let links = try kernel.uint32(fields.links, of: inode)
        guard links > 0 else { return }
        guard let name = names.first else {
            if isHidden, !isHeld || !(isRecent || isChanged) { return }
            let text = "inode \(number) of the filesystem at \(KernelString(bytes: filesystem.mountPoint))"
            let reason = isHidden ? "it changed, and another mount hides it" : "it changed, and its name is not in memory"
            omit(KernelString(text), reason, isHeld: isHidden, inode, filesystem)
            return
        }
        let path = try kernel.path(mount: filesystem.mount, dentry: name, layout: layout.paths).bytes
        present.insert(path)
        switch type {
        case 0o100000:
            // Debian empties /tmp when it boots (tmpfiles.d/tmp.conf), so what is in use there is saved whole.
            let isRecent = isRecent || isHeld && path.starts(with: Self.emptiedAtBoot)
            try add(regular: inode, path: path, mapping: mapping, isRecent: isRecent, isHeld: isHeld, in: filesystem)
            if isRecent { try add(names: names.dropFirst(), of: inode, at: path, isHeld: isHeld, in: filesystem) }
        case 0o120000 where isRecent: try add(link: inode, path: path, isHeld: false, in: filesystem)
        case 0o040000 where isRecent:
            // The root of all needs no making, and has no name.
            if path.count > 1 { try add(inode, path: path, runs: [], isHeld: false, in: filesystem) }
            try lookForRemovedNames(in: name, path: path)
            if let directories, let names = try directories.names(ofDirectory: inode),
                listedNames + names.count <= Self.nameLimit
            {
                listedNames += names.count
                catchUp.listings.append(
                    FileCatchUp.Listing(
                        path: KernelString(bytes: path), inode: number, names: names.map { KernelString(bytes: $0) }))
            }
        case 0o010000 where isRecent: try add(inode, path: path, runs: [], isHeld: false, in: filesystem)
        default: break
        }
    }

    private mutating func add(
        regular inode: VirtualAddress, path: [UInt8], mapping: VirtualAddress, isRecent: Bool, isHeld: Bool,
        in filesystem: MountedFilesystem
    ) throws(MemoryFault) {
        if !isHeld, !filesystem.isInMemory, try kernel.int32(layout.catchUp.writerCount, of: inode) > 0 { return }

        let size = try kernel.value(layout.inode.size, of: inode)
        let cached = try kernel.value(layout.pages.pageCount, of: mapping)
        let choice: CachedPageChoice =
            if filesystem.isInMemory {
                .all
            } else if !isRecent {
                .changed
            } else if cached <= limits.cachedBytesPerFile >> 12 || isHeld && savedPages &+ cached <= limits.totalBytes >> 12 {
                // Of what processes go on with nothing may depend on whether the disk's journal has learned of it.
                .all
            } else {
                .changedOrFrom((size > limits.cachedBytesPerFile ? size - limits.cachedBytesPerFile : 0) >> 12)
            }
        var runs: [PageRun] = []
        do {
            runs = try files.pages(ofMapping: mapping, isInMemory: filesystem.isInMemory, choice, frames: frames)
            if filesystem.isInMemory { runs = try withSwapped(runs, ofMapping: mapping) }
        } catch {
            omit(KernelString(bytes: path), "its cached pages cannot be read: \(error)", isHeld: isHeld, inode, filesystem)
            return
        }
        // Pages beyond the end are leftovers of a truncation.
        runs.removeAll { $0.address.rawValue >= size }
        if runs.isEmpty, !isRecent { return }
        let pages = runs.reduce(UInt64(0)) { $0 &+ UInt64($1.count) }
        guard savedPages &+ pages <= limits.totalBytes >> 12 else {
            omit(
                KernelString(bytes: path), "the limit of \(limits.totalBytes >> 20) MiB for file contents is reached",
                isHeld: isHeld, inode, filesystem)
            return
        }
        savedPages &+= pages
        try add(inode, path: path, runs: runs, isHeld: isHeld, in: filesystem)
    }

    /// The other names of a file, which are on the disk only when their directories are.
    private mutating func add(
        names: ArraySlice<VirtualAddress>, of inode: VirtualAddress, at path: [UInt8], isHeld: Bool,
        in filesystem: MountedFilesystem
    ) throws(MemoryFault) {
        guard catchUp.entries.last?.path.bytes == path else { return }
        for name in names {
            let other = try kernel.path(mount: filesystem.mount, dentry: name, layout: layout.paths).bytes
            guard present.insert(other).inserted else { continue }
            try add(inode, path: other, runs: [], isHeld: isHeld, in: filesystem) { $0.otherName = KernelString(bytes: path) }
        }
    }

    private mutating func add(
        link inode: VirtualAddress, path: [UInt8], isHeld: Bool, in filesystem: MountedFilesystem
    ) throws(MemoryFault) {
        guard let target = try files.target(ofLink: inode, frames: frames) else {
            omit(KernelString(bytes: path), "it is a symbolic link, and where it leads is not in memory", isHeld: isHeld)
            return
        }
        try add(inode, path: path, runs: [], isHeld: isHeld, in: filesystem) { $0.target = target }
    }

    /// The pages of a file on tmpfs that were swapped out, in their places among the others.
    private func withSwapped(_ runs: [PageRun], ofMapping mapping: VirtualAddress) throws -> [PageRun] {
        let swapped = try dead.swappedPages(ofMapping: mapping)
        return swapped.isEmpty ? runs : (runs + swapped).sorted { $0.address < $1.address }
    }

    private mutating func add(
        _ inode: VirtualAddress, path: [UInt8], runs: [PageRun], isHeld: Bool, in filesystem: MountedFilesystem,
        _ change: (inout FileCatchUp.Entry) -> Void = { _ in }
    ) throws(MemoryFault) {
        let fields = layout.inode
        guard catchUp.entries.count < limits.files else {
            omit(KernelString(bytes: path), "more than \(limits.files) files changed", isHeld: isHeld, inode, filesystem)
            return
        }
        var entry = FileCatchUp.Entry(
            path: KernelString(bytes: path), device: filesystem.identity.device,
            inode: try kernel.value(fields.number, of: inode), mode: try kernel.uint32(fields.mode, of: inode),
            uid: try kernel.uint32(fields.uid, of: inode), gid: try kernel.uint32(fields.gid, of: inode),
            links: try kernel.uint32(fields.links, of: inode),
            sizeBytes: try kernel.value(fields.size, of: inode), runs: runs, isHeld: isHeld,
            isWhole: filesystem.isInMemory)
        entry.modified = try kernel.modified(inode, fields)
        entry.accessed = try kernel.accessed(inode, fields)
        change(&entry)
        catchUp.entries.append(entry)
    }

    /// Of a filesystem in memory only what the groups use is brought back: the new guest fills the rest itself.
    private mutating func lookInMemory(at inode: VirtualAddress, in filesystem: MountedFilesystem) throws(MemoryFault) {
        let fields = layout.inode
        let type = try kernel.uint32(fields.mode, of: inode) & 0o170000
        let identity = InodeIdentity(
            device: filesystem.identity.device, inode: try kernel.value(fields.number, of: inode))
        let isHeld = held.contains(identity)
        guard isHeld || !heldPlaces.isEmpty || (type == 0o140000 && !socketNames.isEmpty) else { return }
        for alias in try files.aliases(of: inode) where try !kernel.isUnhashed(alias, layout: layout.paths) {
            guard try files.shows(filesystem, alias) else { continue }
            let path = try kernel.path(mount: filesystem.mount, dentry: alias, layout: layout.paths).bytes
            let isMounted = heldPlaces.contains { KernelString(bytes: path).isPath(atOrBelow: $0) }
            if type == 0o140000, !socketNames.contains(path) {
                if isMounted { omit(KernelString(bytes: path), "it is a socket of nobody in the group", isHeld: false) }
                continue
            }
            guard isHeld || isMounted || type == 0o140000 else { continue }
            try addDirectories(above: alias, in: filesystem)
            let known = catchUp.entries.count
            defer { for index in catchUp.entries.indices.dropFirst(known) { catchUp.entries[index].isOpen = isHeld } }
            switch type {
            case 0o100000:
                guard present.insert(path).inserted else { break }
                let mapping = try kernel.pointer(fields.mapping, of: inode)
                try add(regular: inode, path: path, mapping: mapping, isRecent: true, isHeld: true, in: filesystem)
                var others: [VirtualAddress] = []
                for other in try files.aliases(of: inode) where other != alias {
                    guard try !kernel.isUnhashed(other, layout: layout.paths), try files.shows(filesystem, other) else {
                        continue
                    }
                    try addDirectories(above: other, in: filesystem)
                    others.append(other)
                }
                try add(names: others[...], of: inode, at: path, isHeld: true, in: filesystem)
            case 0o040000, 0o010000:
                if present.insert(path).inserted { try add(inode, path: path, runs: [], isHeld: true, in: filesystem) }
            case 0o120000: if present.insert(path).inserted { try add(link: inode, path: path, isHeld: true, in: filesystem) }
            case 0o140000: break
            default: if isMounted { omit(KernelString(bytes: path), "it is a device in memory", isHeld: true) }
            }
            return
        }
    }

    /// The directories from the filesystem's root down to a name, without the root.
    private mutating func addDirectories(above dentry: VirtualAddress, in filesystem: MountedFilesystem) throws(MemoryFault) {
        var directory = try kernel.pointer(layout.paths.dentryParent, of: dentry)
        let root = try kernel.pointer(layout.superblock.root, of: filesystem.identity.superblock)
        for _ in 0..<2048 where directory != root {
            let path = try kernel.path(mount: filesystem.mount, dentry: directory, layout: layout.paths).bytes
            guard present.insert(path).inserted else { return }
            try add(kernel.pointer(layout.paths.dentryInode, of: directory), path: path, runs: [], isHeld: true, in: filesystem)
            directory = try kernel.pointer(layout.paths.dentryParent, of: directory)
        }
    }

    /// The kernel remembers names that lead to nothing (negative dentries), among them those that were just removed. A name that never was does no
    /// harm here: nothing will be found under it.
    private mutating func lookForRemovedNames(in directory: VirtualAddress, path: [UInt8]) throws(MemoryFault) {
        for child in try files.children(of: directory) {
            guard catchUp.removals.count < Self.nameLimit else { return }
            do throws(MemoryFault) {
                guard try kernel.pointer(layout.paths.dentryInode, of: child).isNull,
                    try !kernel.isUnhashed(child, layout: layout.paths)
                else { continue }
                let name = try kernel.name(of: child, layout: layout.paths)
                let full = (path == [UInt8(ascii: "/")] ? [] : path) + [UInt8(ascii: "/")] + name
                catchUp.removals.append(FileCatchUp.Removal(path: KernelString(bytes: full)))
            } catch {
                files.note(error, object: "directory \(KernelString(bytes: path))", field: "d_children")
            }
        }
    }

    private mutating func omit(
        _ path: KernelString, _ reason: String, isHeld: Bool, _ inode: VirtualAddress? = nil,
        _ filesystem: MountedFilesystem? = nil
    ) {
        guard catchUp.omissions.count < limits.files else { return }
        var file: InodeIdentity?
        if let inode, let filesystem, let number = try? kernel.value(layout.inode.number, of: inode) {
            file = InodeIdentity(device: filesystem.identity.device, inode: number)
        }
        catchUp.omissions.append(FileCatchUp.Omission(path: path, reason: reason, isHeld: isHeld, file: file))
    }
}
