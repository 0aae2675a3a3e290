/// A thing that images of two makers tell of, named so that both give it the same name.
public struct ImageObject: Hashable, Comparable, Sendable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        case checkpoint, process, thread, area, page, descriptor, file, pipe
        case sharedMemory = "shared memory"
        case sharedPage = "shared page"
        case connection
        case lock
        case image
    }

    public var kind: Kind
    /// The process, or 0.
    public var process: UInt64
    /// Thread, address, descriptor or inode: what tells objects of a kind apart.
    public var number: UInt64
    /// For what has no number.
    public var name: String

    public init(kind: Kind, process: UInt64 = 0, number: UInt64 = 0, name: String = "") {
        self.kind = kind
        self.process = process
        self.number = number
        self.name = name
    }

    public var description: String {
        switch kind {
        case .checkpoint: "checkpoint"
        case .process: "process \(process)"
        case .thread: "thread \(process)/\(number)"
        case .area, .page: "\(kind.rawValue) \(process) 0x\(String(number, radix: 16))"
        case .descriptor: "descriptor \(process)/\(number)"
        case .sharedPage: "shared page \(name) 0x\(String(number, radix: 16))"
        case .file, .pipe, .sharedMemory, .lock, .image: "\(kind.rawValue) \(name)"
        case .connection: "\(kind.rawValue) \(number)"
        }
    }

    private var order: (Int, UInt64, UInt64, String) {
        (Self.places[kind] ?? 0, process, number, name)
    }

    private static let places = Dictionary(uniqueKeysWithValues: Kind.allCases.enumerated().map { ($1, $0) })

    public static func < (left: ImageObject, right: ImageObject) -> Bool { left.order < right.order }
}

/// A field in which two checkpoints differ.
public struct ImageDifference: Sendable, Equatable {
    public var object: ImageObject
    public var field: String
    /// nil: not there.
    public var a: String?
    public var b: String?
    /// Why the difference may be; nil: nobody allowed it.
    public var reason: String?
}
