import KernelObjects
import KernelTypes

/// `struct mnt_namespace`, `struct mount` (fs/mount.h) and what some filesystems were mounted with.
struct MountLayout: Sendable {
    /// All mounts of a namespace: a red-black tree since Linux 6.8 (commit 2eea9ce4310d), a list before.
    let mounts: Field
    let mountLink: Field
    let mountsAreTree: Bool

    let embedded, parent, point, root, id, source, flags, superblock: Field
    let group, master: Field
    /// What of the flags is about propagation has its own field in kernels of 2025 and later.
    let propagation: Field?
    let superblockInfo: Field
    /// `struct shmem_sb_info` (include/linux/shmem_fs.h).
    let memory: (blocks: Field, inodes: Field, uid: Field, gid: Field, mode: Field)?
    /// `struct pts_fs_info` (fs/devpts/inode.c).
    let terminals: (hasUID: Field, hasGID: Field, uid: Field, gid: Field, mode: Field, masterMode: Field)?
    /// `struct proc_fs_info` (include/linux/proc_fs.h), which is the filesystem's own since Linux 5.8 (commit fa10fed30f25).
    let processes: (hidden: Field, group: Field, onlyProcesses: Field)?
    /// `struct shmem_inode_info.xattrs`: a tree since Linux 6.2, a list before.
    let attributes: Field?
    let attributesAreTree: Bool
    /// `root_cset` of `struct cgroup_namespace`.
    let cgroupRoot: Field

    /// nil for a kernel with other mounts than those that are known.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let namespace = try types.structure("mnt_namespace")
            let mount = try types.structure("mount")
            if let list = namespace.optional("list") {
                mounts = list
                mountLink = try mount.field("mnt_list")
                mountsAreTree = false
            } else {
                mounts = try namespace.field("mounts")
                mountLink = try mount.field("mnt_node")
                mountsAreTree = true
            }
            embedded = try mount.field("mnt")
            parent = try mount.field("mnt_parent")
            point = try mount.field("mnt_mountpoint")
            root = try mount.field("mnt.mnt_root")
            id = try mount.field("mnt_id")
            source = try mount.field("mnt_devname")
            flags = try mount.field("mnt.mnt_flags")
            superblock = try mount.field("mnt.mnt_sb")
            group = try mount.field("mnt_group_id")
            master = try mount.field("mnt_master")
            propagation = mount.optional("mnt_t_flags")
            superblockInfo = try types.structure("super_block").field("s_fs_info")
            cgroupRoot = try types.structure("cgroup_namespace").field("root_cset")

            if types.has("shmem_sb_info") {
                let info = try types.structure("shmem_sb_info")
                memory = (
                    try info.field("max_blocks"), try info.field("max_inodes"), try info.field("uid"), try info.field("gid"),
                    try info.field("mode")
                )
            } else {
                memory = nil
            }
            if types.has("pts_fs_info") {
                let info = try types.structure("pts_fs_info")
                terminals = (
                    try info.field("mount_opts.setuid"), try info.field("mount_opts.setgid"),
                    try info.field("mount_opts.uid"), try info.field("mount_opts.gid"), try info.field("mount_opts.mode"),
                    try info.field("mount_opts.ptmxmode")
                )
            } else {
                terminals = nil
            }
            if types.has("proc_fs_info") {
                let info = try types.structure("proc_fs_info")
                processes = (try info.field("hide_pid"), try info.field("pid_gid"), try info.field("pidonly"))
            } else {
                processes = nil
            }
            let info = try types.structure("shmem_inode_info")
            if let tree = info.optional("xattrs.rb_root") {
                attributes = tree
                attributesAreTree = true
            } else {
                attributes = info.optional("xattrs.head")
                attributesAreTree = false
            }
        } catch {
            return nil
        }
    }
}
