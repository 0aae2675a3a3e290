/// The keyrings that a thread's credentials lead to and whose loss a program may notice (`struct cred`).
public struct Keyrings: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// `cred->thread_keyring`: the thread has one of its own.
    public static let thread = Keyrings(rawValue: 1)
    /// `cred->process_keyring`: its process has one.
    public static let process = Keyrings(rawValue: 2)
    /// `cred->session_keyring`, when it holds more than every login and every service is given.
    public static let session = Keyrings(rawValue: 4)
}
