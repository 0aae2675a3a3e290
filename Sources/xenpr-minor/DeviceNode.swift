import Glibc

/// The nodes in /dev, which the kernel makes itself (devtmpfs) when the driver of a device has met its back end.
enum DeviceNode {
    static let directory = "/dev"

    /// Waits until a device is there.
    static func awaitNode(_ name: String, seconds: Int32 = 60) throws(MinorFailure) {
        let path = "\(directory)/\(name)"
        let watch = inotify_init1(Int32(IN_CLOEXEC))
        guard watch >= 0 else { throw .last("watch \(directory)") }
        defer { close(watch) }
        // The path is passed as a zero-terminated copy for the length of the call.
        guard unsafe inotify_add_watch(watch, directory, UInt32(IN_CREATE)) >= 0 else { throw .last("watch \(directory)") }
        // Looked for after the watch was set, so that none is missed.
        while unsafe access(path, F_OK) != 0 {
            var event = pollfd(fd: watch, events: Int16(POLLIN), revents: 0)
            // One descriptor, which is ours.
            guard unsafe poll(&event, 1, seconds * 1000) == 1 else {
                throw MinorFailure("\(path) did not appear within \(seconds) s")
            }
            var names = [UInt8](repeating: 0, count: 4096)
            // What the events say does not matter; the buffer is as long as the call is told.
            guard unsafe read(watch, &names, names.count) > 0 else { throw .last("watch \(directory)") }
        }
    }
}
