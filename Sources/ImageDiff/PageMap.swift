import Checkpoint
import Foundation

/// The pages of one memory object: where each is in which file. A hole stays a hole.
struct PageMap {
    /// Pages that follow each other in memory and in their file.
    struct Run {
        var address: UInt64
        var count: UInt64
        var file: Int
        var offset: UInt64
        var end: UInt64 { address + count * PageMap.pageSize }
    }

    static let pageSize: UInt64 = 4096
    /// Ascending, not overlapping.
    private(set) var runs: [Run] = []
    private(set) var files: [FileHandle] = []
    /// Pages that were left to a parent that does not have them.
    private(set) var missing: [UInt64] = []

    private static let addressLimit: UInt64 = 1 << 57
    private static let parentLimit = 32

    /// - Parameter name: of the map's image, `pagemap-2001` or `pagemap-shmem-3`.
    init(_ name: String, in directory: ImageDirectory) throws(ImageDiffError) {
        try self.init(name, in: directory, depth: 0)
    }

    private init(_ name: String, in directory: ImageDirectory, depth: Int) throws(ImageDiffError) {
        guard depth < Self.parentLimit else {
            throw ImageDiffError("\(directory.path) has more than \(Self.parentLimit) parents")
        }
        guard let image = try directory.image(name, .pageMap) else { return }
        let file = "\(directory.path)/\(name).img"
        guard let number = image.entries.first?.message.number(1), number <= UInt64(UInt32.max) else {
            throw ImageDiffError("\(file) does not say where its pages are")
        }
        let pages = "\(directory.path)/pages-\(number).img"
        var size: UInt64 = 0
        if let handle = FileHandle(forReadingAtPath: pages), let end = try? handle.seekToEnd() {
            files.append(handle)
            size = end
        }
        var offset: UInt64 = 0
        var end: UInt64 = 0
        var parent: PageMap?
        var parentFiles = 0
        for entry in image.entries.dropFirst() {
            guard let address = entry.message.number(1), let count = entry.message.number(2), address % Self.pageSize == 0,
                address >= end, count <= UInt64(UInt32.max), address < Self.addressLimit
            else { throw ImageDiffError("\(file): an entry is out of order or out of bounds") }
            end = address + count * Self.pageSize
            // PE_PARENT, which older images have as a flag of its own.
            let flags = entry.message.number(4) ?? (entry.message.number(3) == 1 ? 1 : 4)
            if flags & 1 != 0 {
                if parent == nil {
                    let map = try Self.parent(name, of: directory, depth: depth)
                    parent = map
                    parentFiles = files.count
                    files += map.files
                }
                inherit(address..<end, from: parent, files: parentFiles)
            } else if flags & 4 != 0 {
                guard count * Self.pageSize <= size, offset <= size - count * Self.pageSize else {
                    throw ImageDiffError("\(pages) has \(size) bytes, which is less than \(file) says")
                }
                runs.append(Run(address: address, count: count, file: 0, offset: offset))
                offset += count * Self.pageSize
            }
        }
    }

    private static func parent(_ name: String, of directory: ImageDirectory, depth: Int) throws(ImageDiffError) -> PageMap {
        try PageMap(name, in: ImageDirectory("\(directory.path)/parent"), depth: depth + 1)
    }

    private mutating func inherit(_ range: Range<UInt64>, from parent: PageMap?, files base: Int) {
        var position = range.lowerBound
        for run in parent?.runs ?? [] where run.end > range.lowerBound && run.address < range.upperBound {
            let first = max(run.address, range.lowerBound)
            let last = min(run.end, range.upperBound)
            if first > position { missing.append(position) }
            runs.append(
                Run(
                    address: first, count: (last - first) / Self.pageSize, file: base + run.file,
                    offset: run.offset + (first - run.address)))
            position = last
        }
        if position < range.upperBound { missing.append(position) }
    }

    /// - Returns: nil for a page that is not there.
    func page(at index: (run: Int, page: UInt64)) throws(ImageDiffError) -> [UInt8] {
        let run = runs[index.run]
        let handle = files[run.file]
        do {
            try handle.seek(toOffset: run.offset + index.page * Self.pageSize)
            guard let data = try handle.read(upToCount: Int(Self.pageSize)), data.count == Int(Self.pageSize) else {
                throw ImageDiffError("a pages file ends too early")
            }
            return Array(data)
        } catch let error as ImageDiffError {
            throw error
        } catch {
            throw ImageDiffError("cannot read a page: \(error)")
        }
    }
}

/// Goes through the pages of a map in the order of their addresses.
struct PageCursor {
    private let map: PageMap
    private var run = 0
    private var page: UInt64 = 0

    init(_ map: PageMap) {
        self.map = map
        skipEmpty()
    }

    private mutating func skipEmpty() {
        while run < map.runs.count, page >= map.runs[run].count {
            run += 1
            page = 0
        }
    }

    /// The address of the page under the cursor; nil at the end.
    var address: UInt64? { run < map.runs.count ? map.runs[run].address + page * PageMap.pageSize : nil }

    func contents() throws(ImageDiffError) -> [UInt8] { try map.page(at: (run, page)) }

    mutating func advance() {
        page += 1
        skipEmpty()
    }
}
