import CLinux
import Glibc
import GuestMemory
import ProcessModel

/// A file of whole pages, written around the page cache.
///
/// Pages go from where they are, once, into a buffer, and from there to the disk (O_DIRECT) while others are being filled. Through the page cache each would cost
/// the salvager a page of its memory, work for that page twice (to dirty it, to clean it), and the wait for all of them at the end, while nothing reads them again
/// before the guest has rebooted. File systems without direct access get plain writes, and so do small files: of those a disk writes many at once, which is worth
/// more.
struct PagesFile: ~Copyable {
    private let descriptor: Int32
    private let name: String
    private var writer: DirectWriter
    private var filled = 0
    /// Pages that come next and are not read yet: neighbours are read together.
    private var pending: [FrameNumber] = []
    private var failure: CheckpointError?
    private var bytesHandedOver: UInt64 = 0

    private static let capacity = DirectWriter.bufferSize
    /// Bytes up to which a file is small.
    private static let small = 256 << 10

    /// Creates `name` in an open directory; it must not exist.
    init(creating name: String, in directory: OutputDirectory) throws(CheckpointError) {
        let opened = directory.create(name)
        guard opened >= 0 else { throw .system("create \(directory.path)/\(name)") }
        descriptor = opened
        self.name = "\(directory.path)/\(name)"
        writer = DirectWriter(opened)
    }

    deinit { close(descriptor) }

    /// Bytes in the file once everything is written.
    var byteCount: UInt64 { bytesHandedOver &+ UInt64(filled) &+ UInt64(pending.count * FrameNumber.size) }

    /// Bytes from the first on that have arrived.
    var bytesWritten: UInt64 { writer.bytesWritten }

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
            let place = filled..<filled + part.count
            // The part fits into the rest of the buffer.
            unsafe writer.withBuffer { unsafe UnsafeMutableRawBufferPointer(rebasing: $0[place]).copyBytes(from: part) }
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
        let place = filled..<filled + pending.count * FrameNumber.size
        do throws(PageSupplyError) {
            try unsafe writer.withBuffer { buffer throws(PageSupplyError) in
                // `append` lets no more pages wait than fit.
                try unsafe supply.copy(pending, into: UnsafeMutableRawBufferPointer(rebasing: buffer[place]))
            }
        } catch {
            throw .pages(error.description)
        }
        filled = place.upperBound
        if filled == Self.capacity { try handOver() }
    }

    /// Has the buffer written. Behind an error there is a hole, so nothing more is.
    private mutating func handOver() throws(CheckpointError) {
        if bytesHandedOver == 0, filled > Self.small {
            // Fails where there is no direct access; then the file stays as it was opened.
            _ = xpr_bypass_page_cache(descriptor)
        }
        try check(writer.submit(filled))
        bytesHandedOver &+= UInt64(filled)
        filled = 0
    }

    private mutating func check(_ code: Int32) throws(CheckpointError) {
        guard code != 0 else { return }
        let error = failure ?? CheckpointError.system("write \(name)", code: code)
        failure = error
        throw error
    }

    /// Hands everything to the disk; it is durable once the directory is finished.
    mutating func finish<Supply: PageSupply & ~Copyable>(from supply: inout Supply) throws(CheckpointError) {
        var unread: CheckpointError?
        do throws(CheckpointError) { try read(from: &supply) } catch { unread = error }
        if failure == nil, filled > 0 { try? handOver() }
        try check(writer.finish())
        if let unread { throw unread }
    }
}
