import CXen
import Glibc

/// Xen's control interface (libxenctrl), for the control domain.
///
/// One object is used by one thread at a time: libxenctrl's handles are not made for sharing.
@safe public final class Hypervisor {
    // Opened by `init`, closed by `deinit`, never handed out.
    let handle: OpaquePointer

    public init() throws(XenError) {
        let logger = unsafe xpr_silent_logger()
        guard let handle = unsafe xc_interface_open(logger, logger, 0) else { throw .last("open Xen's control interface") }
        unsafe self.handle = handle
    }

    deinit { unsafe xc_interface_close(handle) }

    /// All domains, the control domain included, by number.
    public func domains() throws(XenError) -> [DomainInfo] {
        var found: [DomainInfo] = []
        var first: UInt32 = 0
        let blank = xc_domaininfo_t()
        while true {
            var batch = Array(repeating: blank, count: 64)
            // `batch` holds as many structures as the call is told.
            let count = unsafe xc_domain_getinfolist(handle, first, UInt32(batch.count), &batch)
            guard count >= 0 else { throw .last("list domains") }
            found += batch.prefix(Int(count)).map(DomainInfo.init)
            guard count == batch.count, let last = found.last else { return found }
            first = last.id.rawValue + 1
        }
    }

    /// One domain; nil when there is none of that number.
    public func domain(_ id: DomainID) throws(XenError) -> DomainInfo? {
        var info = xc_domaininfo_t()
        // One structure, as the call is told.
        let count = unsafe xc_domain_getinfolist(handle, id.rawValue, 1, &info)
        guard count >= 0 else { throw .last("look at domain \(id)") }
        // The call answers with the first domain whose number is not lower.
        guard count == 1, UInt32(info.domain) == id.rawValue else { return nil }
        return DomainInfo(info)
    }

    /// Gives `minor` the right to map the memory of `main` (XEN_DOMCTL_set_target).
    ///
    /// Xen lets a domain have one target in its life, and only a PVH or HVM guest be one.
    public func setTarget(of minor: DomainID, to main: DomainID) throws(XenError) {
        guard unsafe xc_domain_set_target(handle, minor.rawValue, main.rawValue) == 0 else {
            throw .last("make domain \(main) the target of domain \(minor)")
        }
    }

    /// The vCPU contexts of a domain as Xen's save records, those of halted vCPUs among them; `HVMContext` of GuestMemory reads
    /// them. A PV domain's look the same, but for their page tables, which are machine frames.
    public func vcpuContexts(of id: DomainID) throws(XenError) -> [UInt8] {
        guard let info = try domain(id) else { throw XenError("read the vCPU contexts of domain \(id)", errno: ESRCH) }
        return HaltedVCPUs.add(to: info.isHVM ? try savedContext(of: id) : HaltedVCPUs.noRecords, of: info, with: self)
    }

    private func savedContext(of id: DomainID) throws(XenError) -> [UInt8] {
        let operation = "read the vCPU contexts of domain \(id)"
        // Without a buffer the call answers with the size that it needs.
        let size = unsafe xc_domain_hvm_getcontext(handle, id.rawValue, nil, 0)
        guard size > 0 else { throw .last(operation) }
        var blob = [UInt8](repeating: 0, count: Int(size))
        // The buffer is as long as the call is told.
        let length = unsafe xc_domain_hvm_getcontext(handle, id.rawValue, &blob, UInt32(size))
        guard length > 0 else { throw .last(operation) }
        return Array(blob.prefix(Int(length)))
    }

    /// The highest GFN that a domain has; everything of its memory lies at or below it.
    public func highestFrame(of id: DomainID) throws(XenError) -> UInt64 {
        var frame: xen_pfn_t = 0
        // Writes into the local value only.
        guard unsafe xc_domain_maximum_gpfn(handle, id.rawValue, &frame) == 0 else {
            throw .last("ask for the size of domain \(id)'s memory")
        }
        return UInt64(frame)
    }

    public func pause(_ id: DomainID) throws(XenError) {
        guard unsafe xc_domain_pause(handle, id.rawValue) == 0 else { throw .last("pause domain \(id)") }
    }

    public func unpause(_ id: DomainID) throws(XenError) {
        guard unsafe xc_domain_unpause(handle, id.rawValue) == 0 else { throw .last("unpause domain \(id)") }
    }
}
