import CLinux
import Glibc
import GuestMemory
import ProcessModel

/// A file of whole pages, written around the page cache.
///
/// Pages go from where they are, once, into one of two buffers, and from there to the disk (O_DIRECT) while the other is being filled. Through the page cache each
/// would cost the salvager a page of its memory, work for that page twice (to dirty it, to clean it), and the wait for all of them at the end, while nothing reads
/// them again before the guest has rebooted. File systems without direct access get plain writes.
///
/// Safe although it owns raw memory: that is allocated here, freed in `deinit` after the last write, and never handed out.
@safe struct PagesFile: ~Copyable {
    private let descriptor: Int32
    private let name: String
    /// Aligned to a page, as direct access demands of memory, offset and length.
    private var buffer: UnsafeMutableRawBufferPointer
    /// The other buffer, which may be on its way to the disk; empty while all pages fit into the first.
    private var spare: UnsafeMutableRawBufferPointer
    private var filled = 0
    /// Pages that come next and are not read yet: neighbours are read together.
    private var pending: [FrameNumber] = []
    /// Only for files that are larger than a buffer.
    private var writer: BackgroundWriter?
    private var failure: CheckpointError?
    private var bytesHandedOver: UInt64 = 0
    /// Bytes from the first on that have arrived; known once the file is finished, or could not be.
    private(set) var bytesWritten: UInt64 = 0

    /// Bytes that go to the disk at once: enough to keep a disk busy, and as many as a source lends.
    private static let capacity = FrameBatch.limit * FrameNumber.size

    /// Creates `name` in an open directory; it must not exist.
    init(creating name: String, in directory: OutputDirectory) throws(CheckpointError) {
        let opened = directory.create(name)
        guard opened >= 0 else { throw .system("create \(directory.path)/\(name)") }
        // Fails where there is no direct access; then the file stays as it was opened.
        _ = xpr_bypass_page_cache(opened)
        descriptor = opened
        self.name = "\(directory.path)/\(name)"
        unsafe buffer = .allocate(byteCount: Self.capacity, alignment: FrameNumber.size)
        unsafe spare = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    }

    deinit {
        // After an error the thread is still there.
        _ = writer?.finish()
        close(descriptor)
        unsafe buffer.deallocate()
        unsafe spare.deallocate()
    }

    /// Bytes in the file once everything is written.
    var byteCount: UInt64 { bytesHandedOver &+ UInt64(filled) &+ UInt64(pending.count * FrameNumber.size) }

    /// Appends pages of the dead memory. They are read now or with a later call.
    mutating func append<Supply: PageSupply & ~Copyable>(_ run: PageRun, from supply: inout Supply) throws(CheckpointError) {
        for index in 0..<UInt64(run.count) {
            pending.append(FrameNumber(rawValue: run.frame.rawValue &+ index))
            if filled + pending.count * FrameNumber.size >= Self.capacity { try read(from: &supply) }
        }
    }

    /// Appends bytes of our own, a multiple of the page size.
    mutating func append<Supply: PageSupply & ~Copyable>(_ bytes: [UInt8], from supply: inout Supply) throws(CheckpointError) {
        try read(from: &supply)
        var rest = bytes[...]
        while !rest.isEmpty {
            let part = rest.prefix(Self.capacity - filled)
            // The part fits into the rest of the buffer.
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<filled + part.count]).copyBytes(from: part)
            filled += part.count
            rest = rest.dropFirst(part.count)
            if filled == Self.capacity { try handOver() }
        }
    }

    /// Reads the pages that wait for it. After an error they are forgotten.
    mutating func read<Supply: PageSupply & ~Copyable>(from supply: inout Supply) throws(CheckpointError) {
        defer { pending.removeAll(keepingCapacity: true) }
        if let failure { throw failure }
        guard !pending.isEmpty else { return }
        let count = pending.count * FrameNumber.size
        do throws(PageSupplyError) {
            // `append` lets no more pages wait than fit.
            try unsafe supply.copy(pending, into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<filled + count]))
        } catch {
            throw .pages(error.description)
        }
        filled += count
        if filled == Self.capacity { try handOver() }
    }

    /// Has a full buffer written, and goes on with the other one.
    private mutating func handOver() throws(CheckpointError) {
        if writer == nil { writer = BackgroundWriter(descriptor) }
        guard let writer else { return try writeHere() }
        if unsafe spare.isEmpty { unsafe spare = .allocate(byteCount: Self.capacity, alignment: FrameNumber.size) }
        // What is in this buffer stays as it is until it is the spare one's turn again to be handed over. The call waits for that one.
        try check(unsafe writer.write(UnsafeRawBufferPointer(buffer)))
        unsafe swap(&buffer, &spare)
        bytesHandedOver &+= UInt64(filled)
        filled = 0
    }

    /// Without a thread.
    private mutating func writeHere() throws(CheckpointError) {
        try check(
            unsafe BackgroundWriter.write(
                UnsafeRawBufferPointer(rebasing: buffer[..<filled]), to: descriptor, counting: &bytesWritten))
        bytesHandedOver &+= UInt64(filled)
        filled = 0
    }

    /// Remembers an error, after which there is a hole that nothing can be written behind.
    private mutating func check(_ code: Int32) throws(CheckpointError) {
        guard code != 0 else { return }
        let error = CheckpointError.system("write \(name)", code: code)
        failure = failure ?? error
        throw error
    }

    /// Hands everything to the disk; it is durable once the directory is finished.
    mutating func finish<Supply: PageSupply & ~Copyable>(from supply: inout Supply) throws(CheckpointError) {
        var unread: CheckpointError?
        do throws(CheckpointError) { try read(from: &supply) } catch { unread = error }
        if let writer {
            self.writer = nil
            let code = writer.finish()
            bytesWritten = writer.bytesWritten
            try check(code)
        }
        if let failure { throw failure }
        try writeHere()
        if let unread { throw unread }
    }
}
