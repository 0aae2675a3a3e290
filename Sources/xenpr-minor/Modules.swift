import CLinux
import Glibc

/// The kernel modules in the minor's initramfs (see Support/make-initrd).
enum Modules {
    private static let list = "/lib/modules/order"

    /// Loads all of them in the order of the list. A module that the kernel has already is no error.
    static func load() throws(MinorFailure) {
        for path in try lines(of: list) {
            let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { throw .last("open the kernel module \(path)") }
            defer { close(file) }
            if xpr_load_module(file) != 0, errno != EEXIST { throw .last("load the kernel module \(path)") }
        }
    }

    private static func lines(of path: String) throws(MinorFailure) -> [String] {
        let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .last("open the list of kernel modules \(path)") }
        defer { close(file) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            // The buffer is as long as the call is told.
            let count = unsafe Glibc.read(file, &buffer, buffer.count)
            guard count >= 0 else { throw .last("read \(path)") }
            if count == 0 { break }
            text += buffer.prefix(count)
        }
        return text.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    }
}
