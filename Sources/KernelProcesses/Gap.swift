import GuestMemory

/// Something of the dead kernel that could not be read, and what that was.
public struct Gap: Error, Hashable, Sendable {
    /// The kernel object, for people: "task 812 (postgres)".
    public var object: String
    /// The field or container in which the walk stopped.
    public var field: String
    public var fault: MemoryFault

    public init(object: String, field: String, fault: MemoryFault) {
        self.object = object
        self.field = field
        self.fault = fault
    }
}
