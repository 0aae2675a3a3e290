import CXen
import Glibc
import GuestMemory

extension DomainMemory {
    /// The memory of a domain of whatever type. For the control domain: a minor's target is never a PV domain, which Xen does not let it be.
    /// - Throws: `DomainMemoryError`; `ParavirtualError` when a PV domain does not tell where its frames are.
    public static func open(_ domain: UInt32) throws -> DomainMemory {
        guard let paravirtual = try ParavirtualDomain(domain) else { return try DomainMemory(domain: domain) }
        return try DomainMemory(domain: domain, machineFrames: paravirtual.machineFrames())
    }
}

/// Why it is not known where a PV domain's frames are.
public struct ParavirtualError: Error, Hashable, Sendable, CustomStringConvertible {
    public var domain: UInt32
    public var reason: String

    public var description: String { "cannot tell the frames of the PV domain \(domain): \(reason)" }
}

/// What a PV domain tells of its frames in the page that it shares with Xen (`struct arch_shared_info`, xen/include/public/arch-x86/xen.h): the P2M list by its address in
/// page tables that it names. Linux keeps it so since 3.19 (`xen_setup_mfn_list_list`, arch/x86/xen/p2m.c).
struct ParavirtualDomain {
    private let domain: UInt32
    private let sharedInfoFrame: UInt64
    /// The most frames of memory that Xen lets the domain have.
    private let frames: UInt64

    /// Entries of the list that one page holds.
    private static let entriesOfPage = FrameNumber.size / 8
    /// No machine has more than 52 bits of address.
    private static let machineLimit = FrameNumber(1 << 40)

    /// - Returns: nil for a PVH or HVM domain, and when Xen does not tell, as in a minor.
    init?(_ domain: UInt32) throws(DomainMemoryError) {
        guard let control = unsafe xc_interface_open(xpr_silent_logger(), xpr_silent_logger(), 0) else { return nil }
        // Opened just above.
        defer { unsafe xc_interface_close(control) }
        var info = xc_domaininfo_t()
        // One structure, as the call is told. It answers with the first domain whose number is not lower.
        guard unsafe xc_domain_getinfolist(control, domain, 1, &info) == 1, UInt32(info.domain) == domain else {
            throw DomainMemoryError(domain: domain, errno: ESRCH)
        }
        guard info.flags & UInt32(XEN_DOMINF_hvm_guest) == 0 else { return nil }
        self.domain = domain
        sharedInfoFrame = info.shared_info_frame
        frames = info.max_pages
    }

    /// Reads the P2M list, through page tables that have machine frames, as memory that is known by these too.
    func machineFrames() throws -> MachineFrames {
        let place = try list()
        let machine = try DomainMemory(domain: domain, frameLimit: Self.machineLimit)
        let memory = VirtualMemory(source: machine, tables: PageTables(root: place.tables, levels: 4))
        var entries: [UInt64] = []
        entries.reserveCapacity(place.count)
        while entries.count < place.count {
            // Linux maps one page of "no memory" over large holes; a page that is not there at all says no more than that.
            let bytes = try? memory.bytes(at: place.address + entries.count * 8, count: FrameNumber.size)
            for index in 0..<min(Self.entriesOfPage, place.count - entries.count) {
                let word = bytes.map { page in (0..<8).reduce(0) { $0 | UInt64(page[index * 8 + $1]) << UInt64($1 * 8) } }
                entries.append(word ?? .max)
            }
        }
        let frames = MachineFrames(table: entries)
        guard frames.hasMemory else {
            throw ParavirtualError(domain: domain, reason: "its list at \(place.address) names no memory")
        }
        return frames
    }

    private struct Place {
        var tables: PhysicalAddress
        var address: VirtualAddress
        var count: Int
    }

    private func list() throws -> Place {
        let arch = try sharedInfo().arch
        let place = Place(
            tables: PhysicalAddress(UInt64(arch.p2m_cr3) & ~0xfff), address: VirtualAddress(UInt64(arch.p2m_vaddr)),
            count: Int(min(UInt64(arch.max_pfn), UInt64(MachineFrames.limit(frames: frames)))))
        guard place.tables.rawValue != 0, place.address.offsetInPage == 0, place.count > 0 else {
            throw ParavirtualError(
                domain: domain, reason: "its kernel has not told Xen of its list (p2m_cr3, p2m_vaddr, max_pfn)")
        }
        return place
    }

    private func sharedInfo() throws -> shared_info_t {
        guard let handle = unsafe xenforeignmemory_open(xpr_silent_logger(), 0) else {
            throw DomainMemoryError(domain: domain, errno: errno)
        }
        // Opened just above, and closed after the page is unmapped.
        defer { unsafe xenforeignmemory_close(handle) }
        var refusal: Int32 = 0
        // One frame, with room for what is said of it.
        guard
            let page = unsafe xenforeignmemory_map(
                handle, domain, PROT_READ, 1, [xen_pfn_t(sharedInfoFrame)], &refusal),
            refusal == 0
        else {
            throw ParavirtualError(domain: domain, reason: "its shared page cannot be mapped (errno \(max(errno, refusal)))")
        }
        defer { _ = unsafe xenforeignmemory_unmap(handle, page, 1) }
        // The structure is smaller than the page, whose start is aligned for everything in it.
        return unsafe page.load(as: shared_info_t.self)
    }
}
