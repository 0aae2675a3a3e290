/// The name of a group: 1 to 64 of the characters A-Z a-z 0-9 . _ -, and neither "." nor "..", so that it is safe as one path
/// component wherever it is used (the cgroup, the checkpoint's directory).
struct GroupName: CustomStringConvertible, Equatable {
    let description: String

    /// Nil when `text` is not a name of that form.
    init?(_ text: String) {
        guard (1...64).contains(text.utf8.count), text != ".", text != ".." else { return nil }
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                continue
            default: return nil
            }
        }
        description = text
    }
}
