import Glibc
import GuestMemory

/// The memory of a guest in a dump file: ELF (QEMU's `dump-guest-memory`, /proc/vmcore, `makedumpfile -E`), kdump (makedumpfile; QEMU with a compression), each also
/// flattened, and what `xl dump-core` writes of a domain.
///
/// Safe although it owns raw memory: that is allocated in `init`, freed in `deinit`, and what it lends is valid as long as the call.
@safe public final class DumpFile: FrameSource {
    public let path: String
    public let frameLimit: FrameNumber
    public let vmCoreInfoNote: [UInt8]?
    public let omittedPages: OmittedPages
    public let machineFrames: MachineFrames?
    /// The registers of the CPUs as far as the dump has them: never their floating point state.
    public let cpus: [VCPUContext]
    private let descriptor: Int32
    private let frames: CachedFrames
    /// Where `withFrames` gathers the frames.
    private let batch: UnsafeMutableRawBufferPointer

    /// Opens the dump at `path`.
    /// - Throws: `DumpError` when the file cannot be opened or its format is not known.
    public init(path: String) throws(DumpError) {
        // The path is passed as a zero-terminated copy for the length of the call.
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            // `strerror` gives a valid string for every number.
            let cause = unsafe String(cString: strerror(errno))
            throw DumpError(description: "cannot open dump \(path): \(cause)")
        }
        let contents: DumpContents
        do throws(DumpError) { contents = try DumpContents.of(DumpBytes(descriptor: descriptor)) } catch {
            close(descriptor)
            throw DumpError(description: "cannot read dump \(path): \(error)")
        }
        self.path = path
        self.descriptor = descriptor
        frames = CachedFrames(contents.frames)
        frameLimit = contents.frames.frameLimit
        vmCoreInfoNote = contents.vmCoreInfo
        omittedPages = contents.omittedPages
        machineFrames = contents.machineFrames
        cpus = contents.cpus
        unsafe batch = .allocate(byteCount: FrameBatch.limit * FrameNumber.size, alignment: FrameNumber.size)
    }

    deinit {
        close(descriptor)
        unsafe batch.deallocate()
    }

    public func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        try unsafe frames.read(address, into: buffer)
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
        try unsafe self.frames.frames.read(frames, into: buffer)
    }
}
