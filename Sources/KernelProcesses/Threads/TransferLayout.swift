import KernelTypes

/// What tells how far a read, write, send or receive has come: `struct iov_iter` (include/linux/uio.h) and `struct kiocb` (include/linux/fs.h),
/// which the call keeps on its kernel stack, and the lock of a pipe (include/linux/pipe_fs_i.h).
struct TransferLayout: Sendable {
    let type: Field
    /// True for a write. Before 5.14 (commit 8cd54c1c8480) it was bit 0 of `type`.
    let isSource: Field?
    let offset: Field
    /// Bytes that are still to be moved.
    let count: Field
    /// Where a single buffer of user memory begins, since 6.0 (commit fcb14cb1bdac).
    let buffer: Field?
    /// The first `struct iovec` that is not done, and how many there are.
    let vector: Field
    let segments: Field
    let iteratorSize: Int
    /// `ITER_UBUF`, `ITER_IOVEC`.
    let bufferType: UInt64?
    let vectorType: UInt64
    let requestFile: Field
    let requestPosition: Field
    let pipeLockOwner: Field

    /// nil for a kernel whose structures are other ones: how far a call has come stays unknown then.
    init?(_ types: TypeTable) {
        guard let iterator = try? types.structure("iov_iter"), let request = try? types.structure("kiocb"),
            let pipe = try? types.structure("pipe_inode_info"),
            let type = try? iterator.field(anyOf: "iter_type", "type"), let offset = iterator.optional("iov_offset"),
            let count = iterator.optional("count"),
            // `__iov` since 6.4 (commit de4f5fed3f23).
            let vector = try? iterator.field(anyOf: "__iov", "iov"), let segments = iterator.optional("nr_segs"),
            let vectorType = types.enumerator("ITER_IOVEC"), let file = request.optional("ki_filp"),
            let position = request.optional("ki_pos"), let lock = pipe.optional("mutex.owner")
        else { return nil }
        self.type = type
        isSource = iterator.optional("data_source")
        self.offset = offset
        self.count = count
        buffer = iterator.optional("ubuf")
        self.vector = vector
        self.segments = segments
        iteratorSize = iterator.size
        bufferType = types.enumerator("ITER_UBUF").map { UInt64(clamping: $0) }
        self.vectorType = UInt64(clamping: vectorType)
        requestFile = file
        requestPosition = position
        pipeLockOwner = lock
    }
}
