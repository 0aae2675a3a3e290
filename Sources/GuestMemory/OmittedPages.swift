/// Kinds of pages that makedumpfile leaves out of a dump: what its option `-d` adds up (makedumpfile(8)).
public struct DumpLevel: OptionSet, Hashable, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Pages of zeros. In the kdump format they are there all the same: one page stands for all of them.
    public static let zeros = DumpLevel(rawValue: 1)
    /// The page cache, shared memory too.
    public static let cache = DumpLevel(rawValue: 2)
    /// Pages of the page cache of which a file system keeps something.
    public static let privateCache = DumpLevel(rawValue: 4)
    /// The pages of processes that are in no file.
    public static let processes = DumpLevel(rawValue: 8)
    public static let free = DumpLevel(rawValue: 16)
}

/// What was left out of a source of memory on purpose.
public enum OmittedPages: Hashable, Sendable {
    case none
    case kinds(DumpLevel)
    /// Something was, and the source does not say what.
    case unknownKinds
}
