import Glibc

/// Why a checkpoint could not be written.
public enum CheckpointError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The recovery volume has no room left (ENOSPC, EDQUOT).
    case volumeFull(operation: String)
    /// Another error of the system.
    case system(operation: String, code: Int32)
    /// Pages could not be read from the dead memory.
    case pages(String)
    /// The process model contradicts itself or cannot be expressed.
    case model(String)

    static func system(_ operation: String) -> CheckpointError { system(operation, code: errno) }

    /// Of an operation that failed with this number.
    static func system(_ operation: String, code: Int32) -> CheckpointError {
        code == ENOSPC || code == EDQUOT ? .volumeFull(operation: operation) : .system(operation: operation, code: code)
    }

    public var isVolumeFull: Bool {
        if case .volumeFull = self { return true }
        return false
    }

    public var description: String {
        switch self {
        case .volumeFull(let operation): "cannot \(operation): the recovery volume is full; attach a larger one"
        case .system(let operation, let code): "cannot \(operation): \(Self.text(of: code))"
        case .pages(let cause): cause
        case .model(let cause): cause
        }
    }

    private static func text(of code: Int32) -> String {
        // strerror returns a NUL-terminated string that stays valid until the next call in this thread.
        guard let text = unsafe strerror(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }
}
