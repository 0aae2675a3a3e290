import CXen
import Glibc

/// A connection to xenstore: through xenstored's socket in the control domain, through /dev/xen/xenbus in any other. One
/// object is used by one thread at a time.
public final class XenStore {
    /// A path under a watch has changed; `token` is the one that the watch was set with.
    public struct Event: Hashable, Sendable {
        public var path: String
        public var token: String
    }

    /// Types of messages (`enum xsd_sockmsg_type`).
    private enum Kind: UInt32 {
        case directory = 1
        case read = 2
        case watch = 4
        case unwatch = 5
        case write = 11
        case mkdir = 12
        case remove = 13
        case setPermissions = 14
        case watchEvent = 15
        case error = 16
    }

    private let wire: XenStoreWire
    private var request: UInt32 = 0
    /// Events that came while an answer was awaited.
    private var events: [Event] = []

    public init() throws(XenError) { wire = try XenStoreWire() }

    /// The bytes of a node; nil when there is none.
    public func bytes(_ path: String) throws(XenError) -> [UInt8]? {
        try unlessMissing { () throws(XenError) in try ask(.read, [path], "read \(path) in xenstore") }
    }

    /// The text of a node; nil when there is none.
    public func read(_ path: String) throws(XenError) -> String? {
        guard let bytes = try bytes(path) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Writes a node, which is created with those above it where they are missing.
    /// - Parameter value: xenstore takes up to 4096 bytes, path included, in one request.
    public func write(_ path: String, _ value: String) throws(XenError) {
        try write(path, Array(value.utf8))
    }

    public func write(_ path: String, _ value: [UInt8]) throws(XenError) {
        _ = try ask(.write, [path], "write \(path) in xenstore", value)
    }

    /// The names of a node's children; nil when there is no such node.
    public func list(_ path: String) throws(XenError) -> [String]? {
        let names = try unlessMissing { () throws(XenError) in try ask(.directory, [path], "list \(path) in xenstore") }
        return names?.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Removes a node and all below it; a node that is not there is no error.
    public func remove(_ path: String) throws(XenError) {
        _ = try unlessMissing { () throws(XenError) in try ask(.remove, [path], "remove \(path) from xenstore") }
    }

    /// Lets the domain read and write the node (which the caller must own); the owner keeps all rights, others get none.
    public func share(_ path: String, owner: DomainID, with domain: DomainID) throws(XenError) {
        _ = try ask(.setPermissions, [path, "n\(owner)", "b\(domain)"], "set the permissions of \(path) in xenstore")
    }

    /// Watches a path and all below it. An event for the path itself comes at once. `@releaseDomain` and
    /// `@introduceDomain` tell of domains that stop, die and appear.
    public func watch(_ path: String, token: String) throws(XenError) {
        _ = try ask(.watch, [path, token], "watch \(path) in xenstore")
    }

    public func unwatch(_ path: String, token: String) throws(XenError) {
        _ = try ask(.unwatch, [path, token], "end the watch of \(path) in xenstore")
    }

    /// Becomes readable when xenstore has something to say: for an event loop of the caller's own, which looks with
    /// `nextEvent(timeoutMilliseconds: 0)` until that gives nil before it waits again.
    public var eventDescriptor: Int32 { wire.descriptor }

    /// Waits for the next event of a watch.
    /// - Parameter timeoutMilliseconds: how long; 0 looks once, nil waits for ever.
    /// - Returns: nil when the time was over first.
    public func nextEvent(timeoutMilliseconds: Int?) throws(XenError) -> Event? {
        let deadline = timeoutMilliseconds.map { Self.now() + $0 }
        while events.isEmpty {
            let left = deadline.map { max(0, $0 - Self.now()) } ?? -1
            var waiting = pollfd(fd: wire.descriptor, events: Int16(POLLIN), revents: 0)
            // One structure, as poll is told.
            let ready = unsafe poll(&waiting, 1, Int32(clamping: left))
            if ready < 0, errno != EINTR { throw .last("wait for xenstore") }
            if ready > 0 {
                note(try wire.receive())
            } else if let deadline, Self.now() >= deadline {
                return nil
            }
        }
        return events.removeFirst()
    }

    /// Sends a request and waits for its answer.
    private func ask(
        _ kind: Kind, _ strings: [String], _ operation: String, _ value: [UInt8] = []
    ) throws(XenError) -> [UInt8] {
        request &+= 1
        try wire.send(type: kind.rawValue, request: request, payload: strings.flatMap { Array($0.utf8) + [0] } + value)
        while true {
            let answer = try wire.receive()
            switch answer.type {
            case kind.rawValue: return answer.payload
            case Kind.error.rawValue: throw XenError(operation, errno: Self.number(of: answer.payload))
            case Kind.watchEvent.rawValue: note(answer)
            default: throw XenError(operation, errno: EPROTO)
            }
        }
    }

    /// nil in place of the error that there is no such node.
    private func unlessMissing(_ body: () throws(XenError) -> [UInt8]) throws(XenError) -> [UInt8]? {
        do {
            return try body()
        } catch {
            guard error.errno == ENOENT else { throw error }
            return nil
        }
    }

    /// Keeps an event; anything else that comes unasked is passed over.
    private func note(_ message: XenStoreWire.Message) {
        guard message.type == Kind.watchEvent.rawValue else { return }
        // Path and token, each with its zero byte; either may be empty.
        let strings = message.payload.split(separator: 0, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        guard strings.count >= 2 else { return }
        events.append(Event(path: strings[0], token: strings[1]))
    }

    /// The number behind the name that xenstore gives an error (`xsd_errors`).
    private static func number(of name: [UInt8]) -> Int32 {
        let known: [String: Int32] = [
            "EINVAL": EINVAL, "EACCES": EACCES, "EEXIST": EEXIST, "EISDIR": EISDIR, "ENOENT": ENOENT, "ENOMEM": ENOMEM,
            "ENOSPC": ENOSPC, "EIO": EIO, "ENOTEMPTY": ENOTEMPTY, "ENOSYS": ENOSYS, "EROFS": EROFS, "EBUSY": EBUSY,
            "EAGAIN": EAGAIN, "EISCONN": EISCONN, "E2BIG": E2BIG, "EPERM": EPERM,
        ]
        return known[String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)] ?? EPROTO
    }

    /// Milliseconds of a clock that never jumps.
    private static func now() -> Int {
        var time = timespec()
        // Writes into a local structure only.
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}
