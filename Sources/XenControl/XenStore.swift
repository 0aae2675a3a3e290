import CXen
import Glibc

/// A connection to xenstore (libxenstore): through xenstored's socket in the control domain, through /dev/xen/xenbus in
/// any other. One object is used by one thread at a time.
@safe public final class XenStore {
    /// A path under a watch has changed; `token` is the one that the watch was set with.
    public struct Event: Hashable, Sendable {
        public var path: String
        public var token: String
    }

    // Opened by `init`, closed by `deinit`, never handed out.
    private let handle: OpaquePointer
    /// No transaction: each request stands alone.
    private static let alone: xs_transaction_t = 0

    public init() throws(XenError) {
        guard let handle = unsafe xs_open(0) else { throw .last("connect to xenstore") }
        unsafe self.handle = handle
    }

    deinit { unsafe xs_close(handle) }

    /// The bytes of a node; nil when there is none.
    public func bytes(_ path: String) throws(XenError) -> [UInt8]? {
        var length: UInt32 = 0
        guard let data = unsafe xs_read(handle, Self.alone, path, &length) else {
            if errno == ENOENT { return nil }
            throw .last("read \(path) in xenstore")
        }
        // libxenstore gives `length` bytes of malloc's that the caller frees.
        defer { unsafe free(data) }
        return unsafe Array(UnsafeRawBufferPointer(start: data, count: Int(length)))
    }

    /// The text of a node; nil when there is none.
    public func read(_ path: String) throws(XenError) -> String? {
        guard let bytes = try bytes(path) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Writes a node, which is created with those above it where they are missing.
    /// - Parameter value: xenstore takes less than 4096 bytes, path included, in one request.
    public func write(_ path: String, _ value: String) throws(XenError) {
        try write(path, Array(value.utf8))
    }

    public func write(_ path: String, _ value: [UInt8]) throws(XenError) {
        let written = unsafe value.withUnsafeBytes { bytes in
            // The bytes live until the call returns, and it is told how many there are.
            unsafe xs_write(handle, Self.alone, path, bytes.baseAddress, UInt32(bytes.count))
        }
        guard written else { throw .last("write \(path) in xenstore") }
    }

    /// The names of a node's children; nil when there is no such node.
    public func list(_ path: String) throws(XenError) -> [String]? {
        var count: UInt32 = 0
        guard let names = unsafe xs_directory(handle, Self.alone, path, &count) else {
            if errno == ENOENT { return nil }
            throw .last("list \(path) in xenstore")
        }
        // One block of malloc's: `count` pointers, then the C strings that they point to.
        defer { unsafe free(names) }
        return unsafe UnsafeBufferPointer(start: names, count: Int(count)).compactMap { name in
            unsafe name.map { unsafe String(cString: $0) }
        }
    }

    /// Removes a node and all below it; a node that is not there is no error.
    public func remove(_ path: String) throws(XenError) {
        if unsafe !xs_rm(handle, Self.alone, path), errno != ENOENT { throw .last("remove \(path) from xenstore") }
    }

    /// Lets the domain read and write the node (which the caller must own); the owner keeps all rights.
    public func share(_ path: String, owner: DomainID, with domain: DomainID) throws(XenError) {
        var permissions = [
            xs_permissions(id: owner.rawValue, perms: UInt32(XS_PERM_NONE)),
            xs_permissions(id: domain.rawValue, perms: UInt32(XS_PERM_READ | XS_PERM_WRITE)),
        ]
        // The array holds as many entries as the call is told.
        guard unsafe xs_set_permissions(handle, Self.alone, path, &permissions, UInt32(permissions.count)) else {
            throw .last("set the permissions of \(path) in xenstore")
        }
    }

    /// Watches a path and all below it. An event for the path itself comes at once. `@releaseDomain` and
    /// `@introduceDomain` tell of domains that stop, die and appear.
    public func watch(_ path: String, token: String) throws(XenError) {
        guard unsafe xs_watch(handle, path, token) else { throw .last("watch \(path) in xenstore") }
    }

    public func unwatch(_ path: String, token: String) throws(XenError) {
        guard unsafe xs_unwatch(handle, path, token) else { throw .last("end the watch of \(path) in xenstore") }
    }

    /// Becomes readable when an event waits: for an event loop of the caller's own.
    public var eventDescriptor: Int32 { unsafe xs_fileno(handle) }

    /// Waits for the next event of a watch.
    /// - Parameter timeoutMilliseconds: how long; 0 looks once, nil waits for ever.
    /// - Returns: nil when the time was over first.
    public func nextEvent(timeoutMilliseconds: Int?) throws(XenError) -> Event? {
        if let event = try pendingEvent() { return event }
        let deadline = timeoutMilliseconds.map { Self.now() + $0 }
        while true {
            let left = deadline.map { max(0, $0 - Self.now()) } ?? -1
            var waiting = pollfd(fd: eventDescriptor, events: Int16(POLLIN), revents: 0)
            // One structure, as poll is told.
            let ready = unsafe poll(&waiting, 1, Int32(clamping: left))
            if ready < 0, errno != EINTR { throw .last("wait for xenstore") }
            if let event = try pendingEvent() { return event }
            if let deadline, Self.now() >= deadline { return nil }
        }
    }

    /// An event that is already there; nil when none is.
    private func pendingEvent() throws(XenError) -> Event? {
        guard let pair = unsafe xs_check_watch(handle) else {
            if errno == EAGAIN || errno == 0 { return nil }
            throw .last("read an event of xenstore")
        }
        // One block of malloc's: two pointers (path, token), then their C strings.
        defer { unsafe free(pair) }
        guard let path = unsafe pair[Int(XS_WATCH_PATH.rawValue)], let token = unsafe pair[Int(XS_WATCH_TOKEN.rawValue)] else {
            return nil
        }
        return unsafe Event(path: String(cString: path), token: String(cString: token))
    }

    /// Milliseconds of a clock that never jumps.
    private static func now() -> Int {
        var time = timespec()
        // Writes into a local structure only.
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}
