/// Why images cannot be compared: what was being read, where, and what is wrong with it.
public struct ImageDiffError: Error, Sendable, Equatable, CustomStringConvertible {
    public var description: String

    init(_ description: String) {
        self.description = description
    }
}
