import Checkpoint

/// Compares the checkpoints of one group by two makers, field by field and page by page.
public enum ImageComparison {
    /// - Parameters:
    ///   - a: a directory of images; the table of reasons is written for XenPR's here.
    ///   - b: another one; CRIU's.
    /// - Returns: all fields that differ, in the order of their objects, with the reason where the table has one.
    public static func compare(_ a: String, _ b: String) throws(ImageDiffError) -> [ImageDifference] {
        let a = try CheckpointContents(a)
        let b = try CheckpointContents(b)
        var differences: [ImageDifference] = []
        for object in Set(a.objects.keys).union(b.objects.keys).sorted() {
            compare(object, a.objects[object], b.objects[object], into: &differences)
        }
        for pid in Set(a.pages.keys).union(b.pages.keys).sorted() {
            let areas = areas(of: pid, in: a)
            try compare(a.pages[pid], b.pages[pid], into: &differences) { address in
                (
                    ImageObject(kind: .page, process: pid, number: address),
                    areas.first { $0.contains(address) }.map(kind) ?? "no area"
                )
            }
        }
        for name in Set(a.sharedPages.keys).union(b.sharedPages.keys).sorted() {
            try compare(a.sharedPages[name], b.sharedPages[name], into: &differences) { address in
                (ImageObject(kind: .sharedPage, number: address, name: name), "shared")
            }
        }
        for index in differences.indices { differences[index].reason = AllowedDifference.reason(for: differences[index]) }
        return differences
    }

    private static func compare(
        _ object: ImageObject, _ a: FlatFields?, _ b: FlatFields?, into differences: inout [ImageDifference]
    ) {
        guard let a, let b else {
            let present = a ?? b ?? [:]
            let text = present.sorted { $0.key < $1.key }.prefix(4).map { "\($0.key)=\($0.value.prefix(60))" }.joined(
                separator: " ")
            differences.append(
                ImageDifference(object: object, field: "all", a: a == nil ? nil : text, b: b == nil ? nil : text))
            return
        }
        for field in Set(a.keys).union(b.keys).sorted() where a[field] != b[field] {
            differences.append(ImageDifference(object: object, field: field, a: a[field], b: b[field]))
        }
    }

    // MARK: Pages

    private struct Area {
        var range: Range<UInt64>
        /// A page that is not saved reads as zeros.
        var isAnonymous: Bool
        func contains(_ address: UInt64) -> Bool { range.contains(address) }
    }

    private static func areas(of pid: UInt64, in contents: CheckpointContents) -> [Area] {
        contents.objects.compactMap { object, fields in
            guard object.kind == .area, object.process == pid, let end = hex(fields["end"]), end > object.number,
                let status = hex(fields["status"])
            else { return nil }
            // VMA_ANON_PRIVATE
            return Area(range: object.number..<end, isAnonymous: status & 1 << 9 != 0)
        }.sorted { $0.range.lowerBound < $1.range.lowerBound }
    }

    private static func kind(_ area: Area) -> String { area.isAnonymous ? "anonymous" : "of a file" }

    private static func hex(_ text: String?) -> UInt64? { text.flatMap { UInt64($0.dropFirst(2), radix: 16) } }

    private static func compare(
        _ a: PageMap?, _ b: PageMap?, into differences: inout [ImageDifference],
        naming name: (UInt64) -> (object: ImageObject, area: String)
    ) throws(ImageDiffError) {
        for address in (a?.missing ?? []) + (b?.missing ?? []) {
            throw ImageDiffError("page 0x\(String(address, radix: 16)) was left to a parent that does not have it")
        }
        var left = a.map { PageCursor($0) }
        var right = b.map { PageCursor($0) }
        while true {
            let addresses = [left?.address, right?.address].compactMap { $0 }
            guard let address = addresses.min() else { return }
            var contents: [[UInt8]?] = [nil, nil]
            if left?.address == address {
                contents[0] = try left?.contents()
                left?.advance()
            }
            if right?.address == address {
                contents[1] = try right?.contents()
                right?.advance()
            }
            guard contents[0] != contents[1] else { continue }
            let (object, area) = name(address)
            differences.append(
                ImageDifference(
                    object: object, field: "contents", a: text(contents[0], contents[1], area),
                    b: text(contents[1], contents[0], area)))
        }
    }

    /// A page in a difference: whether it is there, and where it departs from the other.
    private static func text(_ page: [UInt8]?, _ other: [UInt8]?, _ area: String) -> String? {
        guard let page else { return nil }
        if page.allSatisfy({ $0 == 0 }) { return "zeros (\(area))" }
        var text = "CRC-32 \(String(CRC32.of(page), radix: 16)) (\(area))"
        if let other {
            let different = page.indices.filter { page[$0] != other[$0] }
            if let first = different.first {
                let part = page[first..<min(first + 16, page.count)]
                text +=
                    ", \(different.count) bytes differ from 0x\(String(first, radix: 16)) on: \(MessageSchema.hexadecimal(Array(part)))"
            }
        }
        return text
    }
}
