import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What the kernel keeps twice of an open file, or promises of it. A field that a kernel lacks takes its check with it.
struct FileChecksLayout: Sendable {
    /// `f_count`; since 6.13 (commit 90ee6ed776c0) `f_ref`, which counts one less.
    let references: Field?
    let firstReference: Int64
    /// Arrays that a small table is made of, inside of `struct files_struct`.
    let ownTable, ownFiles, ownOpen, ownCloseOnExec: Field?
    /// Back pointers: `struct socket.file`, `struct sock.sk_socket`, `struct inode.i_pipe`.
    let socketFile, sockSocket, inodePipe: Field?
    let inodeOperations: Field?
    let pipeFiles: Field?

    init(_ types: TypeTable) {
        let file = try? types.structure("file")
        let counted = file?.optional("f_count")
        references = counted ?? file?.optional("f_ref.refcnt")
        firstReference = counted == nil ? 1 : 0
        let table = try? types.structure("files_struct")
        ownTable = table?.optional("fdtab")
        ownFiles = table?.optional("fd_array")
        ownOpen = table?.optional("open_fds_init")
        ownCloseOnExec = table?.optional("close_on_exec_init")
        socketFile = (try? types.structure("socket"))?.optional("file")
        sockSocket = (try? types.structure("sock"))?.optional("sk_socket")
        let inode = try? types.structure("inode")
        inodePipe = inode?.optional("i_pipe")
        inodeOperations = inode?.optional("i_fop")
        pipeFiles = (try? types.structure("pipe_inode_info"))?.optional("files")
    }
}

extension FileReader {
    /// FMODE_NOACCOUNT (include/linux/fs.h): a file below an overlay, whose path is the overlay's.
    static let lowerFileMode: UInt32 = 0x2000_0000
    /// FMODE_UNSIGNED_OFFSET: /dev/mem and its like.
    private static let unsignedOffsetMode: UInt32 = 0x2000
    /// O_ACCMODE, O_APPEND … O_TMPFILE and FMODE_NONOTIFY; O_CREAT, O_EXCL, O_NOCTTY and O_TRUNC are gone once a file is open.
    private static let knownFlags: UInt32 = 0x0c7f_ff23

    /// Flags against mode, and the path's inode against the file's own.
    mutating func checkFile(at address: VirtualAddress, mode: UInt32, isPathOnly: Bool) throws(MemoryFault) {
        let fields = layout.file
        let flags = try kernel.uint32(fields.flags, of: address)
        if flags & ~Self.knownFlags != 0 { contradict("open file with flags 0\(String(flags, radix: 8))", at: address) }
        // OPEN_FMODE
        if !isPathOnly, mode & 3 != (flags &+ 1) & 3 { contradict("open file whose flags and mode differ", at: address) }
        let position = try kernel.signed(fields.position, of: address)
        if position < 0, mode & Self.unsignedOffsetMode == 0 { contradict("open file at a negative position", at: address) }
        guard mode & Self.lowerFileMode == 0 else { return }
        let inode = try kernel.pointer(fields.inode, of: address)
        let dentry = try kernel.pointer(layout.paths.pathDentry, of: address + fields.path.offset)
        if try kernel.pointer(layout.paths.dentryInode, of: dentry) != inode {
            contradict("open file whose name and contents differ", at: address)
        }
        // What is on a disk has the operations of its inode (do_dentry_open).
        if let operations = layout.checks.inodeOperations, !isPathOnly, try filesystem(ofInode: inode).isOnBlockDevice,
            try [0o100000, 0o040000].contains(kernel.value(layout.inode.mode, of: inode) & 0o170000)
        {
            if try kernel.pointer(operations, of: inode) != kernel.pointer(fields.operations, of: address) {
                contradict("open file with the operations of another kind", at: address)
            }
        }
    }

    /// A table that was never enlarged consists of the arrays in `files_struct` itself (kernel/file.c).
    mutating func checkTable(at table: VirtualAddress, of holder: VirtualAddress) throws(MemoryFault) {
        let own = layout.checks
        guard let ownTable = own.ownTable, table == holder + ownTable.offset else { return }
        for (pointer, place) in [
            (layout.table.files, own.ownFiles), (layout.table.open, own.ownOpen),
            (layout.table.closeOnExec, own.ownCloseOnExec),
        ] {
            guard let place else { continue }
            if try kernel.pointer(pointer, of: table) != holder + place.offset {
                contradict("small table of descriptors with parts elsewhere", at: table)
            }
        }
        if try kernel.uint32(layout.table.limit, of: table) != 64 {
            contradict("small table of descriptors that is not small", at: table)
        }
    }

    /// A socket, its file and its `struct sock` point to each other.
    mutating func checkSocket(at address: VirtualAddress, sock: VirtualAddress, file: VirtualAddress) throws(MemoryFault) {
        if let field = layout.checks.socketFile, try kernel.pointer(field, of: address) != file {
            contradict("socket of another open file", at: address)
        }
        if let field = layout.checks.sockSocket, try kernel.pointer(field, of: sock) != address {
            contradict("struct sock of another socket", at: sock)
        }
    }

    /// An open pipe is its inode's, and has as many open files as it has readers and writers, or fewer.
    mutating func checkPipe(at info: VirtualAddress, inode: VirtualAddress) throws(MemoryFault) {
        if let field = layout.checks.inodePipe, try kernel.pointer(field, of: inode) != info {
            contradict("pipe of another inode", at: info)
        }
        guard let field = layout.checks.pipeFiles else { return }
        let files = UInt64(try kernel.uint32(field, of: info))
        let readers = UInt64(try kernel.uint32(layout.pipe.readers, of: info))
        let writers = UInt64(try kernel.uint32(layout.pipe.writers, of: info))
        if readers > files || writers > files || files > readers + writers {
            contradict("pipe with \(readers) readers, \(writers) writers and \(files) open files", at: info)
        }
    }

    /// Notes a contradiction; the group that holds the file is refused.
    private mutating func contradict(_ what: String, at address: VirtualAddress) {
        guard obstacles.count < Self.obstacleLimit else { return }
        let fault = MemoryFault(.damaged(what), at: address)
        obstacles.append(Obstacle(.refused, pid: nil, reason: "the kernel contradicts itself: \(fault)"))
    }

    private static let obstacleLimit = 1000

    /// Notes that something holds the file.
    mutating func countReference(to file: VirtualAddress) { references[file, default: 0] += 1 }

    /// No file has more holders than it counts: a pointer that was changed leads to a file which does not know of it.
    mutating func checkReferences() {
        guard let field = layout.checks.references else { return }
        for (file, seen) in references.sorted(by: { $0.key < $1.key }) {
            guard let count = try? kernel.signed(field, of: file) else { continue }
            let promised = count &+ layout.checks.firstReference
            guard Int64(seen) > promised, let id = fileIDs[file] else { continue }
            let reason = "an open file is held \(seen) times where the kernel counts \(promised)"
            let holders = pids(holding: id)
            obstacles +=
                holders.isEmpty
                ? [Obstacle(.refused, pid: nil, reason: reason)] : holders.map { Obstacle(.refused, pid: $0, reason: reason) }
        }
    }
}
