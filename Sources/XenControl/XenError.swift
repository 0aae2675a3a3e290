import CXen
import Glibc

/// A failed request to the hypervisor or to xenstore.
public struct XenError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What was tried, with its object: "map frames of domain 3".
    public var operation: String
    /// The system's error number (`errno`) as Xen's library left it.
    public var errno: Int32

    public init(_ operation: String, errno: Int32) {
        self.operation = operation
        self.errno = errno
    }

    /// The error of the library call that has just failed.
    static func last(_ operation: String) -> XenError { XenError(operation, errno: Glibc.errno) }

    public var description: String {
        var text = "cannot \(operation): \(Self.name(of: errno)) (errno \(errno))"
        if let advice { text += "; \(advice)" }
        return text
    }

    /// What to do about the causes that have a usual remedy.
    private var advice: String? {
        switch errno {
        case EACCES, EPERM: "run it as root in the control domain, or give the minor main as its target"
        case ENOENT, ENODEV: "check that this system runs on Xen and that xenstored is up"
        case EOPNOTSUPP: "Xen does this for PVH and HVM guests only"
        default: nil
        }
    }

    private static func name(of errno: Int32) -> String {
        // strerror gives a static or thread-local C string for every number; it is copied at once.
        unsafe String(cString: strerror(errno))
    }
}
