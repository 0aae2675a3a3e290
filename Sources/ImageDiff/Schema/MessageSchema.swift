/// What the numbers of a message's fields mean: the facts of CRIU's images/*.proto that a comparison needs.
struct MessageSchema: Sendable {
    /// One field.
    struct Field: Sendable {
        /// How a value is shown, and what is in a nested message.
        enum Kind: Sendable {
            case number
            /// int32 and int64.
            case signed
            /// sint32 and sint64.
            case zigzag
            case hex
            case octal
            case text
            case bytes
            case message(MessageSchema)
        }

        let number: UInt32
        let name: String
        let kind: Kind
        let isRepeated: Bool

        private init(_ number: UInt32, _ name: String, _ kind: Kind, _ isRepeated: Bool = false) {
            self.number = number
            self.name = name
            self.kind = kind
            self.isRepeated = isRepeated
        }

        static func number(_ number: UInt32, _ name: String) -> Field { Field(number, name, .number) }
        static func signed(_ number: UInt32, _ name: String) -> Field { Field(number, name, .signed) }
        static func zigzag(_ number: UInt32, _ name: String) -> Field { Field(number, name, .zigzag) }
        static func hex(_ number: UInt32, _ name: String) -> Field { Field(number, name, .hex) }
        static func octal(_ number: UInt32, _ name: String) -> Field { Field(number, name, .octal) }
        static func text(_ number: UInt32, _ name: String) -> Field { Field(number, name, .text) }
        static func bytes(_ number: UInt32, _ name: String) -> Field { Field(number, name, .bytes) }
        static func message(_ number: UInt32, _ name: String, _ schema: MessageSchema) -> Field {
            Field(number, name, .message(schema))
        }

        /// The same field, as often as it comes.
        var repeated: Field { Field(number, name, kind, true) }
    }

    private let fields: [UInt32: Field]

    init(_ fields: [Field]) {
        self.fields = Dictionary(fields.map { ($0.number, $0) }) { first, _ in first }
    }

    subscript(number: UInt32) -> Field? { fields[number] }
}
