import PlainJSON
import ProcessModel

/// One object of a manifest and where it stands, so that an error can say it.
struct ManifestNode {
    private let value: JSONValue
    let place: String

    init(_ value: JSONValue, place: String) {
        self.value = value
        self.place = place
    }

    private func at(_ name: String) -> String { place.isEmpty ? name : "\(place).\(name)" }

    private func fail(_ name: String, _ problem: String) -> ManifestError { ManifestError(place: at(name), problem: problem) }

    func text(_ name: String) throws(ManifestError) -> String {
        guard let text = value[name]?.stringValue else { throw fail(name, "is no string") }
        return text
    }

    func isText(_ name: String) -> Bool { value[name]?.stringValue != nil }

    func real(_ name: String) throws(ManifestError) -> Double {
        guard let number = value[name]?.numberValue else { throw fail(name, "is no number") }
        return number
    }

    func integer<Number: FixedWidthInteger>(_ name: String, in range: ClosedRange<Number>) throws(ManifestError) -> Number {
        guard let whole = value[name]?.integerValue, let number = Number(exactly: whole), range.contains(number) else {
            throw fail(name, "is no whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func unsigned(_ name: String) throws(ManifestError) -> UInt64 { try integer(name, in: 0...UInt64(Int64.max)) }

    func optionalUnsigned(_ name: String) throws(ManifestError) -> UInt64? {
        guard let member = value[name], !member.isNull else { return nil }
        return try unsigned(name)
    }

    func optionalFlag(_ name: String) throws(ManifestError) -> Bool? {
        guard let member = value[name], !member.isNull else { return nil }
        guard let flag = member.boolValue else { throw fail(name, "is neither true nor false") }
        return flag
    }

    func optionalText(_ name: String) throws(ManifestError) -> String? {
        guard let member = value[name], !member.isNull else { return nil }
        return try text(name)
    }

    func optionalAbsolutePath(_ name: String) throws(ManifestError) -> String? {
        guard let member = value[name], !member.isNull else { return nil }
        return try absolutePath(name)
    }

    func verdict(_ name: String) throws(ManifestError) -> Verdict {
        guard let verdict = Verdict(rawValue: try text(name)) else { throw fail(name, "is none of full, degraded, refused") }
        return verdict
    }

    func texts(_ name: String) throws(ManifestError) -> [String] {
        guard let elements = value[name]?.arrayValue else { throw fail(name, "is no list") }
        let texts = elements.compactMap(\.stringValue)
        guard texts.count == elements.count else { throw fail(name, "is no list of strings") }
        return texts
    }

    func optionalIntegers(_ name: String, in range: ClosedRange<Int>) throws(ManifestError) -> [Int]? {
        guard let member = value[name], !member.isNull else { return nil }
        let numbers =
            member.arrayValue?.compactMap { $0.integerValue.flatMap { Int(exactly: $0) } }.filter(range.contains) ?? []
        guard let elements = member.arrayValue, numbers.count == elements.count else {
            throw fail(name, "is no list of numbers from \(range.lowerBound) to \(range.upperBound)")
        }
        return numbers
    }

    func triples(_ name: String) throws(ManifestError) -> [(UInt64, UInt64, UInt64)] {
        guard let elements = value[name]?.arrayValue else { throw fail(name, "is no list") }
        var triples: [(UInt64, UInt64, UInt64)] = []
        for element in elements {
            let numbers = element.arrayValue?.compactMap { $0.integerValue.flatMap { UInt64(exactly: $0) } } ?? []
            guard numbers.count == 3, element.arrayValue?.count == 3 else {
                throw fail(name, "holds something else than three numbers")
            }
            triples.append((numbers[0], numbers[1], numbers[2]))
        }
        return triples
    }

    func list<Element>(
        _ name: String, _ make: (ManifestNode) throws(ManifestError) -> Element
    ) throws(ManifestError) -> [Element] {
        guard let elements = value[name]?.arrayValue else { throw fail(name, "is no list") }
        var result: [Element] = []
        for (index, element) in elements.enumerated() {
            let node = ManifestNode(element, place: "\(at(name))[\(index)]")
            guard element.objectValue != nil else { throw ManifestError(place: node.place, problem: "is no object") }
            result.append(try make(node))
        }
        return result
    }

    func optionalList<Element>(
        _ name: String, _ make: (ManifestNode) throws(ManifestError) -> Element
    ) throws(ManifestError) -> [Element] {
        guard let member = value[name], !member.isNull else { return [] }
        return try list(name, make)
    }

    func optional<Element>(
        _ name: String, _ make: (ManifestNode) throws(ManifestError) -> Element
    ) throws(ManifestError) -> Element? {
        guard let member = value[name], !member.isNull else { return nil }
        guard member.objectValue != nil else { throw fail(name, "is no object") }
        return try make(ManifestNode(member, place: at(name)))
    }

    /// One component of a path.
    func fileName(_ name: String) throws(ManifestError) -> String {
        let text = try text(name)
        guard Self.isComponent(text[...]) else { throw fail(name, "is no plain name") }
        return text
    }

    /// A path below the volume's root.
    func optionalRelativePath(_ name: String) throws(ManifestError) -> String? {
        guard let member = value[name], !member.isNull else { return nil }
        let text = try text(name)
        guard text.utf8.count < 4096, text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy(Self.isComponent)
        else {
            throw fail(name, "is no path inside the volume")
        }
        return text
    }

    /// A path below a place that the reader knows; empty for that place itself.
    func optionalPlace(_ name: String) throws(ManifestError) -> String? {
        if value[name]?.stringValue == "" { return "" }
        return try optionalRelativePath(name)
    }

    /// A path from the guest's root, in its plainest form.
    func absolutePath(_ name: String) throws(ManifestError) -> String {
        let text = try text(name)
        guard text.utf8.count < 4096, text.hasPrefix("/"),
            text.dropFirst().split(separator: "/", omittingEmptySubsequences: false).allSatisfy(Self.isComponent)
        else { throw fail(name, "is no absolute path in its plainest form") }
        return text
    }

    /// Such a path, or the root itself.
    func directoryPath(_ name: String) throws(ManifestError) -> String {
        try text(name) == "/" ? "/" : absolutePath(name)
    }

    func optionalDirectoryPath(_ name: String) throws(ManifestError) -> String? {
        guard let member = value[name], !member.isNull else { return nil }
        return try directoryPath(name)
    }

    private static func isComponent(_ text: Substring) -> Bool {
        !text.isEmpty && text != "." && text != ".." && text.utf8.count <= 255 && !text.utf8.contains(0) && !text.contains("/")
    }
}
