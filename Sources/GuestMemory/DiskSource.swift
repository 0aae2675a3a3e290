/// Why a disk of the guest could not be read.
public struct DiskFault: Error, Hashable, Sendable, CustomStringConvertible {
    /// What and where, lower case.
    public var description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// A disk of the dead guest, as it was left: where its kernel had put pages that it had no room for.
public protocol DiskSource: AnyObject {
    /// Fills the buffer with what is on the disk from `offset` on.
    /// - Parameter offset: in bytes, a multiple of 4096; so is the buffer's size.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(DiskFault)
}
