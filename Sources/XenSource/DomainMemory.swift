import CXen
import Glibc
import GuestMemory

/// The memory of a domain, mapped frame by frame through Xen (libxenforeignmemory).
///
/// Works in the control domain for every domain, and in a minor for its target. Object reads go through windows of 512
/// frames that stay mapped, so that a walk costs one hypercall for every 2 MiB it touches; page contents are lent from a
/// mapping of just the frames asked for. Mappings are read-only.
@safe public final class DomainMemory: FrameSource {
    /// Frames in a window: one page of page table entries.
    private static let windowFrames = 512
    /// The most windows that stay mapped (512 MiB of address space, 1 MiB of page tables).
    private static let windowLimit = 256

    /// One mapped window, with what Xen said of each of its frames (0, or an errno).
    ///
    /// Safe to hold: only `read` touches the pointer, inside the mapping and where `errors` allows it.
    @safe private struct Window {
        // `windowFrames` frames, mapped until the window is dropped; frames with an error must not be touched.
        var base: UnsafeMutableRawPointer
        var errors: [Int32]
    }

    public let domain: UInt32
    public let frameLimit: FrameNumber
    public let machineFrames: MachineFrames?

    // Opened by `init`, closed by `deinit` after the last window is gone.
    private let handle: OpaquePointer
    private var windows: [UInt64: Window] = [:]
    /// Windows in the order they were mapped: the oldest goes first when there are too many.
    private var mapped: [UInt64] = []
    private var oldest = 0

    /// - Parameters:
    ///   - domain: the domain's number.
    ///   - frameLimit: one past the highest GFN (the domain's memory map ends there); nil asks Xen.
    ///   - machineFrames: where Xen has put the frames of a PV domain; without it they are known by the numbers that they have in the machine.
    public init(domain: UInt32, frameLimit: FrameNumber? = nil, machineFrames: MachineFrames? = nil) throws(DomainMemoryError) {
        guard let handle = unsafe xenforeignmemory_open(xpr_silent_logger(), 0) else {
            throw DomainMemoryError(domain: domain, errno: errno)
        }
        unsafe self.handle = handle
        self.domain = domain
        self.machineFrames = machineFrames
        self.frameLimit = frameLimit ?? machineFrames?.frameLimit ?? Self.frameLimit(of: domain)
    }

    deinit {
        forget()
        unsafe xenforeignmemory_close(handle)
    }

    /// One past the highest frame, as Xen tells the control domain. A minor may not ask: it takes 16 GiB when the control
    /// domain has not told it more.
    private static func frameLimit(of domain: UInt32) -> FrameNumber {
        let fallback = FrameNumber(4 << 20)
        guard let control = unsafe xc_interface_open(xpr_silent_logger(), xpr_silent_logger(), 0) else { return fallback }
        // Opened just above.
        defer { unsafe xc_interface_close(control) }
        var highest: xen_pfn_t = 0
        // Writes into the local value only.
        guard unsafe xc_domain_maximum_gpfn(control, domain, &highest) == 0 else { return fallback }
        return FrameNumber(UInt64(highest) + 1)
    }

    public func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        guard buffer.count > 0 else { return }
        guard address.offsetInFrame + buffer.count <= FrameNumber.size else {
            throw MemoryFault(.damaged("a read that crosses a frame's end"), at: address)
        }
        let number = address.frame.rawValue
        guard number < frameLimit.rawValue else { throw MemoryFault(.refused(errno: ERANGE), at: address) }
        let window = try window(of: number, for: address)
        let slot = Int(number % UInt64(Self.windowFrames))
        guard window.errors[slot] == 0 else {
            throw MemoryFault(.refused(errno: window.errors[slot]), at: address)
        }
        // The frame is mapped (no error above), and offset and length stay inside it.
        let start = unsafe window.base + slot * FrameNumber.size + address.offsetInFrame
        unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(start: start, count: buffer.count))
    }

    public func withFrames<Result>(
        _ frames: ArraySlice<FrameNumber>, _ body: (_ pieces: [UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result {
        guard !frames.isEmpty else { return unsafe try body([]) }
        guard frames.count <= FrameBatch.limit else {
            throw MemoryFault(.damaged("\(frames.count) frames asked for at once"), at: frames[frames.startIndex].address)
        }
        let (base, errors) = unsafe try map(
            Array(frames), for: frames[frames.startIndex].address)
        // Mapped above with this many frames; nothing outlives `body`.
        defer { _ = unsafe xenforeignmemory_unmap(handle, base, frames.count) }
        for (frame, error) in zip(frames, errors) where error != 0 {
            throw MemoryFault(.refused(errno: error), at: frame.address)
        }
        return unsafe try body([UnsafeRawBufferPointer(start: base, count: frames.count * FrameNumber.size)])
    }

    /// The mapped window that holds a frame.
    private func window(of number: UInt64, for address: PhysicalAddress) throws(MemoryFault) -> Window {
        let index = number / UInt64(Self.windowFrames)
        if let window = windows[index] { return window }
        if windows.count >= Self.windowLimit {
            drop(mapped[oldest])
            mapped[oldest] = index
            oldest = (oldest + 1) % Self.windowLimit
        } else {
            mapped.append(index)
        }
        let first = index * UInt64(Self.windowFrames)
        let (base, errors) = unsafe try map((0..<UInt64(Self.windowFrames)).map { FrameNumber(first + $0) }, for: address)
        let window = unsafe Window(base: base, errors: errors)
        windows[index] = window
        return window
    }

    /// Unmaps all windows. While the guest lives its memory map may change under them (ballooning).
    public func forget() {
        for index in Array(windows.keys) { drop(index) }
        mapped = []
        oldest = 0
    }

    private func drop(_ index: UInt64) {
        guard let window = windows.removeValue(forKey: index) else { return }
        // Mapped with this many frames, and no longer known to anybody.
        _ = unsafe xenforeignmemory_unmap(handle, window.base, Self.windowFrames)
    }

    /// Maps frames one behind the other; a frame that cannot be mapped has its errno, and must not be touched.
    private func map(_ frames: [FrameNumber], for address: PhysicalAddress) throws(MemoryFault) -> (
        UnsafeMutableRawPointer, [Int32]
    ) {
        var errors = [Int32](repeating: 0, count: frames.count)
        // A PV domain's frames go by the machine's numbers. Xen refuses the highest number, like those of a hole in another domain's memory.
        let numbers = frames.map { frame in
            guard let machineFrames else { return xen_pfn_t(frame.rawValue) }
            return machineFrames.machineFrame(of: frame).map { xen_pfn_t($0.rawValue) } ?? .max
        }
        // Both arrays are as long as the call is told.
        guard let base = unsafe xenforeignmemory_map(handle, domain, PROT_READ, numbers.count, numbers, &errors) else {
            throw MemoryFault(.refused(errno: errno), at: address)
        }
        return unsafe (base, errors)
    }
}

/// Xen's foreign memory could not be opened at all.
public struct DomainMemoryError: Error, Hashable, Sendable, CustomStringConvertible {
    public var domain: UInt32
    public var errno: Int32

    public var description: String {
        "cannot open the memory of domain \(domain) (errno \(errno)); check that /dev/xen/privcmd is there (module xen-privcmd)"
    }
}
