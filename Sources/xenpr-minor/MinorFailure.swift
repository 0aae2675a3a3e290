import Glibc

/// Why the minor cannot go on.
struct MinorFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }

    /// The system call that has just failed.
    static func last(_ operation: String) -> MinorFailure {
        let number = errno
        // strerror gives a static or thread-local C string for every number; it is copied at once.
        return MinorFailure("cannot \(operation): \(unsafe String(cString: strerror(number))) (errno \(number))")
    }
}
