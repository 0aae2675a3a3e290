import KernelObjects
import KernelTypes

/// Where the fields of open files, and of what they lead to, lie in this kernel. Resolved once, while the kernel is healthy.
public struct FileLayout: Sendable {
    let paths: PathLayout
    let xarray: XArrayLayout
    let tree: RedBlackTreeLayout
    /// nil: the kernel has no POSIX message queues.
    let posixQueues: PosixQueueLayout?
    let file: OpenFileLayout
    let inode: InodeLayout
    let superblock: SuperblockLayout
    let table: DescriptorTableLayout
    let filesystemContext: FilesystemContextLayout
    let pipe: PipeLayout
    let events: EventLayout
    let inotify: InotifyLayout?
    let fanotify: FanotifyLayout?
    let sharedMemory: SharedMemoryLayout
    let sockets: SocketLayout
    let locks: FileLockLayout
    let terminals: TerminalLayout
    let namespaceFiles: NamespaceFileLayout?
    let pages: PageCacheLayout
    let catchUp: CatchUpLayout
    let checks: FileChecksLayout

    /// - Throws: the first structure or field that this kernel lacks and the walk cannot do without.
    public init(_ types: TypeTable) throws(KernelError) {
        paths = try PathLayout(types)
        xarray = try XArrayLayout(types)
        tree = try RedBlackTreeLayout(types)
        posixQueues = PosixQueueLayout(types)
        file = try OpenFileLayout(types)
        inode = try InodeLayout(types)
        superblock = try SuperblockLayout(types)
        table = try DescriptorTableLayout(types)
        filesystemContext = try FilesystemContextLayout(types)
        pipe = try PipeLayout(types)
        events = try EventLayout(types)
        inotify = try InotifyLayout(types)
        fanotify = try FanotifyLayout(types)
        sharedMemory = try SharedMemoryLayout(types)
        sockets = try SocketLayout(types)
        locks = try FileLockLayout(types)
        terminals = try TerminalLayout(types)
        namespaceFiles = NamespaceFileLayout(types)
        pages = try PageCacheLayout(types)
        catchUp = try CatchUpLayout(types)
        checks = FileChecksLayout(types)
    }
}

/// `struct file` and `struct fown_struct` (include/linux/fs.h).
struct OpenFileLayout: Sendable {
    let path: Field
    let inode: Field
    let operations: Field
    let flags: Field
    let mode: Field
    let position: Field
    let privateData: Field
    /// `struct callback_head` of a file that is to end when its task returns to user mode.
    let ending: Field?
    /// `backing_file.user_path`, since 6.7 (commit def3ae83da02): where a program sees a file that an overlay has opened below itself.
    let userPath: Field?
    let owner: Field
    /// `f_owner` is a pointer, null while nobody asked for signals, since Linux 6.12 (commit 1934b212615d).
    let ownerIsPointer: Bool
    let ownerPID: Field
    let ownerPIDType: Field
    let ownerUID: Field
    let ownerEffectiveUID: Field
    let ownerSignal: Field
    let pidNumbers: Field

    init(_ types: TypeTable) throws(KernelError) {
        let file = try types.structure("file")
        path = try file.field("f_path")
        inode = try file.field("f_inode")
        operations = try file.field("f_op")
        flags = try file.field("f_flags")
        mode = try file.field("f_mode")
        position = try file.field("f_pos")
        privateData = try file.field("private_data")
        ending = file.optional("f_task_work") ?? file.optional("f_rcuhead") ?? file.optional("f_u.fu_rcuhead")
        userPath = (try? types.structure("backing_file"))?.optional("user_path")
        owner = try file.field("f_owner")
        ownerIsPointer = owner.size == 8
        let ownership = try types.structure("fown_struct")
        ownerPID = try ownership.field("pid")
        ownerPIDType = try ownership.field("pid_type")
        ownerUID = try ownership.field("uid")
        ownerEffectiveUID = try ownership.field("euid")
        ownerSignal = try ownership.field("signum")
        // numbers[0] is the number in the initial pid namespace.
        let numbers = try types.structure("pid").field("numbers")
        let number = try types.structure("upid").field("nr")
        pidNumbers = Field(offset: numbers.offset + number.offset, size: number.size)
    }
}

/// `struct inode` (include/linux/fs.h).
struct InodeLayout: Sendable {
    let mode: Field
    let uid: Field
    let gid: Field
    let superblock: Field
    let number: Field
    let links: Field
    let device: Field
    let size: Field
    let blocks: Field
    let mapping: Field
    let data: Field
    /// Where a short symbolic link leads: a string of the kernel's.
    let link: Field
    let aliases: Field
    let aliasLink: Field
    let listLink: Field
    let lockContext: Field?
    /// Seconds since the epoch; own fields since Linux 6.11 (commit 3aa63a569c64), `__i_mtime` in 6.7 … 6.10.
    let modifiedSeconds: Field
    let modifiedNanoseconds: Field
    let accessedSeconds: Field
    let accessedNanoseconds: Field
    let changedSeconds: Field

    init(_ types: TypeTable) throws(KernelError) {
        let inode = try types.structure("inode")
        mode = try inode.field("i_mode")
        uid = try inode.field("i_uid")
        gid = try inode.field("i_gid")
        superblock = try inode.field("i_sb")
        number = try inode.field("i_ino")
        links = try inode.field("i_nlink")
        device = try inode.field("i_rdev")
        size = try inode.field("i_size")
        blocks = try inode.field("i_blocks")
        mapping = try inode.field("i_mapping")
        data = try inode.field("i_data")
        link = try inode.field("i_link")
        aliases = try inode.field("i_dentry")
        aliasLink = try types.structure("dentry").field(anyOf: "d_alias", "d_u.d_alias")
        listLink = try inode.field("i_sb_list")
        lockContext = inode.optional("i_flctx")
        modifiedSeconds = try inode.field(anyOf: "i_mtime_sec", "__i_mtime.tv_sec", "i_mtime.tv_sec")
        modifiedNanoseconds = try inode.field(anyOf: "i_mtime_nsec", "__i_mtime.tv_nsec", "i_mtime.tv_nsec")
        accessedSeconds = try inode.field(anyOf: "i_atime_sec", "__i_atime.tv_sec", "i_atime.tv_sec")
        accessedNanoseconds = try inode.field(anyOf: "i_atime_nsec", "__i_atime.tv_nsec", "i_atime.tv_nsec")
        changedSeconds = try inode.field(anyOf: "i_ctime_sec", "__i_ctime.tv_sec", "i_ctime.tv_sec")
    }
}

/// `struct super_block` and `struct file_system_type` (include/linux/fs.h).
struct SuperblockLayout: Sendable {
    let device: Field
    let blockDevice: Field
    let flags: Field
    let type: Field
    let typeName: Field
    let inodes: Field
    let link: Field
    let mounts: Field
    let root: Field
    let blockSize: Field

    init(_ types: TypeTable) throws(KernelError) {
        let superblock = try types.structure("super_block")
        device = try superblock.field("s_dev")
        blockDevice = try superblock.field("s_bdev")
        flags = try superblock.field("s_flags")
        type = try superblock.field("s_type")
        typeName = try types.structure("file_system_type").field("name")
        inodes = try superblock.field("s_inodes")
        link = try superblock.field("s_list")
        mounts = try superblock.field("s_mounts")
        root = try superblock.field("s_root")
        blockSize = try superblock.field("s_blocksize")
    }
}

/// `struct files_struct` and `struct fdtable` (include/linux/fdtable.h).
struct DescriptorTableLayout: Sendable {
    let current: Field
    let limit: Field
    let files: Field
    let closeOnExec: Field
    let open: Field

    init(_ types: TypeTable) throws(KernelError) {
        current = try types.structure("files_struct").field("fdt")
        let table = try types.structure("fdtable")
        limit = try table.field("max_fds")
        files = try table.field("fd")
        closeOnExec = try table.field("close_on_exec")
        open = try table.field("open_fds")
    }
}

/// `struct fs_struct` (include/linux/fs_struct.h).
struct FilesystemContextLayout: Sendable {
    let umask: Field
    let root: Field
    let workingDirectory: Field

    init(_ types: TypeTable) throws(KernelError) {
        let context = try types.structure("fs_struct")
        umask = try context.field("umask")
        root = try context.field("root")
        workingDirectory = try context.field("pwd")
    }
}
