/// Fields that have a second copy somewhere, which the walk compares: a change of one of them that goes unnoticed is a fault of the walk.
enum Guarded {
    private static let fields: Set<String> = []

    static func covers(object: String, field: String, kind: String) -> Bool {
        // A whole page changes its neighbours too, so that two copies can change at once.
        kind != "zero-page" && kind != "noise-page" && fields.contains("\(object).\(field)")
    }
}
