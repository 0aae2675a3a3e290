/// The name of a network device: 1 to 15 of the characters A-Z a-z 0-9 . _ -, no "-" being the first, so that no program takes it for something else.
struct DeviceName: CustomStringConvertible, Equatable {
    let description: String

    /// Nil when `text` is not a name of that form.
    init?(_ text: String) {
        guard text.utf8.count <= 15, let name = GroupName(text), text.utf8.first != UInt8(ascii: "-") else { return nil }
        description = name.description
    }
}
