import CKdumpfile
import Glibc
import GuestMemory

/// Why a file cannot serve as a memory dump.
public struct DumpError: Error, Sendable, CustomStringConvertible {
    public var description: String
}

/// The memory of a guest in a dump file: ELF (QEMU's `dump-guest-memory`), kdump, and what else libkdumpfile knows.
///
/// libkdumpfile tells the formats apart and finds the VMCOREINFO; where the memory lies in the file as it is, it is read from there.
///
/// Safe although it owns a C context and raw memory: both are made in `init`, freed in `deinit`, and never handed out.
@safe public final class DumpFile: FrameSource {
    public let path: String
    public let frameLimit: FrameNumber
    private let context: OpaquePointer
    private let descriptor: Int32
    /// Nil when only libkdumpfile understands the file.
    private let flat: FlatMemory?
    /// Where `withFrames` gathers the frames; libkdumpfile only lends copies.
    private let batch: UnsafeMutableRawBufferPointer

    /// Opens the dump at `path`.
    /// - Throws: `DumpError` when the file cannot be opened or its format is not known.
    public init(path: String) throws {
        // The path is passed as a zero-terminated copy for the length of the call.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            // `strerror` gives a valid string for every number.
            let cause = unsafe String(cString: strerror(errno))
            throw DumpError(description: "cannot open dump \(path): \(cause)")
        }
        // A new context is owned by us until `kdump_free`.
        guard let context = unsafe kdump_new() else {
            close(descriptor)
            throw DumpError(description: "cannot open dump \(path): out of memory")
        }
        // A dump that is mapped would count as our memory, all of it, and the salvager promises to need little.
        _ = unsafe kdump_set_number_attr(context, KDUMP_ATTR_FILE_MMAP_POLICY, kdump_num_t(KDUMP_MMAP_NEVER.rawValue))
        let status = unsafe kdump_open_fd(context, descriptor)
        guard status == KDUMP_OK else {
            // The message belongs to the context, which is freed only afterwards.
            let message = unsafe kdump_get_err(context).map { unsafe String(cString: $0) } ?? "unknown format"
            unsafe kdump_free(context)
            close(descriptor)
            throw DumpError(description: "cannot read dump \(path): \(message)")
        }
        flat = FlatELF(descriptor: descriptor).map { FlatMemory(FlatFile(layout: $0, descriptor: descriptor)) }
        guard let limit = unsafe flat?.frameLimit ?? Self.frameLimit(of: context) else {
            unsafe kdump_free(context)
            close(descriptor)
            throw DumpError(description: "cannot read dump \(path): it does not say which memory it holds")
        }
        self.path = path
        unsafe self.context = context
        self.descriptor = descriptor
        frameLimit = limit
        unsafe batch = .allocate(byteCount: FrameBatch.limit * FrameNumber.size, alignment: FrameNumber.size)
    }

    /// One past the last frame in the dump: the end of the last run of set bits in its map of frames.
    private static func frameLimit(of context: OpaquePointer) -> FrameNumber? {
        var attribute = unsafe kdump_attr_t()
        unsafe attribute.type = KDUMP_BITMAP
        // On success the bitmap is owned by the context, which outlives this function.
        guard unsafe kdump_get_typed_attr(context, KDUMP_ATTR_MEMORY_PAGEMAP, &attribute) == KDUMP_OK,
            let map = unsafe attribute.val.bitmap
        else { return nil }
        var end: kdump_addr_t = 0
        var position: kdump_addr_t = 0
        while unsafe kdump_bmp_find_set(map, &position) == KDUMP_OK {
            guard unsafe kdump_bmp_find_clear(map, &position) == KDUMP_OK, position > end else { break }
            end = position
        }
        return end > 0 ? FrameNumber(UInt64(end)) : nil
    }

    deinit {
        unsafe kdump_free(context)
        close(descriptor)
        unsafe batch.deallocate()
    }

    /// From the dump's VMCOREINFO note; QEMU writes one when the guest told it where to find it.
    public var vmCoreInfoNote: [UInt8]? {
        // An ELF dump does not say whose kernel is in it, and until then libkdumpfile takes the note for nobody's.
        _ = unsafe kdump_set_string_attr(context, KDUMP_ATTR_OSTYPE, "linux")
        var raw: UnsafeMutablePointer<CChar>?
        // On success the string is a copy that is ours to free.
        guard unsafe kdump_vmcoreinfo_raw(context, &raw) == KDUMP_OK, let text = unsafe raw else {
            unsafe kdump_clear_err(context)
            return nil
        }
        defer { unsafe free(text) }
        return unsafe Array(String(cString: text).utf8)
    }

    public func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        if let flat { return try unsafe flat.read(address, into: buffer) }
        var length = buffer.count
        // libkdumpfile writes at most `length` bytes, which is the buffer's size.
        let status = unsafe kdump_read(context, KDUMP_MACHPHYSADDR, kdump_addr_t(address.rawValue), buffer.baseAddress, &length)
        guard status == KDUMP_OK, length == buffer.count else {
            unsafe kdump_clear_err(context)
            throw MemoryFault(status == KDUMP_ERR_CORRUPT ? .damaged("dump file") : .notInDump, at: address)
        }
    }

    public func withFrames<Result>(
        _ frames: ArraySlice<FrameNumber>, _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result {
        precondition(frames.count <= FrameBatch.limit)
        // The batch has room for as many frames as a call may ask for.
        let lent = unsafe UnsafeMutableRawBufferPointer(rebasing: batch[..<(frames.count * FrameNumber.size)])
        unsafe try copy(frames, into: lent)
        return try unsafe body([UnsafeRawBufferPointer(lent)])
    }

    public func copy(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws {
        precondition(buffer.count == frames.count * FrameNumber.size)
        if let flat { return unsafe try flat.file.read(frames, into: buffer) }
        var offset = 0
        for frame in frames {
            // One slot for each of the frames.
            let slot = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[offset..<offset + FrameNumber.size])
            unsafe try read(frame.address, into: slot)
            offset += FrameNumber.size
        }
    }
}
