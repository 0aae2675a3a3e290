/// What the lab could not do, as one sentence: the operation, the object, the cause, the next step; lower case.
struct LabFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
