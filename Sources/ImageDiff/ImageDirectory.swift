import Checkpoint
import Foundation

/// A directory of CRIU images. Whoever wrote it is not trusted: sizes are bounded before anything is read.
struct ImageDirectory {
    let path: String
    /// Names of the image files without ".img", sorted.
    let names: [String]

    /// Of one image other than pages; those of a group with 100,000 areas stay far below it.
    private static let sizeLimit = 256 << 20
    private static let countLimit = 100_000

    init(_ path: String) throws(ImageDiffError) {
        self.path = path
        let contents: [String]
        do { contents = try FileManager.default.contentsOfDirectory(atPath: path) } catch {
            throw ImageDiffError("cannot read \(path): it is missing or no directory")
        }
        guard contents.count <= Self.countLimit else { throw ImageDiffError("\(path) has more than \(Self.countLimit) files") }
        names = contents.filter { $0.hasSuffix(".img") }.map { String($0.dropLast(4)) }.sorted()
        guard names.contains("inventory") else {
            throw ImageDiffError("\(path) holds no CRIU images: inventory.img is missing")
        }
    }

    /// The decoded image; nil when there is none of that name.
    func image(_ name: String, _ kind: ImageKind) throws(ImageDiffError) -> ImageContents? {
        guard names.contains(name) else { return nil }
        let file = "\(path)/\(name).img"
        let contents: ImageContents
        do throws(ImageContents.Problem) {
            contents = try ImageContents(parsing: try bytes(file))
        } catch {
            throw ImageDiffError("\(file): \(Self.text(error))")
        }
        guard contents.kind == kind else { throw ImageDiffError("\(file) is an image of another kind (\(contents.kind))") }
        return contents
    }

    /// Messages of an image that may be missing.
    func entries(_ name: String, _ kind: ImageKind) throws(ImageDiffError) -> [ImageContents.Entry] {
        try image(name, kind)?.entries ?? []
    }

    /// The one message of an image that must be there.
    func single(_ name: String, _ kind: ImageKind) throws(ImageDiffError) -> ProtobufFields {
        guard let entry = try image(name, kind)?.entries.first else {
            throw ImageDiffError("\(path)/\(name).img is missing or empty")
        }
        return entry.message
    }

    /// What `prefix-` is followed by in the names of images.
    func suffixes(of prefix: String) -> [String] {
        names.filter { $0.hasPrefix(prefix + "-") }.map { String($0.dropFirst(prefix.count + 1)) }
    }

    private func bytes(_ file: String) throws(ImageContents.Problem) -> [UInt8] {
        guard let handle = FileHandle(forReadingAtPath: file), let data = try? handle.read(upToCount: Self.sizeLimit + 1),
            data.count <= Self.sizeLimit
        else { throw .truncated(offset: 0) }
        return Array(data)
    }

    private static func text(_ problem: ImageContents.Problem) -> String {
        switch problem {
        case .unknownMagic: "it does not begin like an image of a kind that is known"
        case .truncated(let offset): "it ends, cannot be read, or is too large at byte \(offset)"
        case .damaged(let error): error.description
        }
    }
}
