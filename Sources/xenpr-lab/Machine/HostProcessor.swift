import Foundation

/// What the host can do for guests.
enum HostProcessor {
    /// Whether guests really start on /dev/kvm; decided once, by starting one that halts at once.
    static let isVirtualizing = false

    static var accelerator: String { isVirtualizing ? "kvm" : "tcg,thread=multi" }
}
