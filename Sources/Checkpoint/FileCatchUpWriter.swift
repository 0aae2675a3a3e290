import GuestMemory
import ProcessModel

/// Saves what the dead kernel had of files and the disk had not: contents in `files/contents` on the volume, the rest in the manifest.
public enum FileCatchUpWriter {
    private static let directory = "files"
    private static let name = "contents"

    /// Writes the contents and adds `files`, `removed` and gaps to the manifest.
    ///
    /// Files of the groups come first, for a volume that runs full in between.
    /// - Returns: what could not be saved, the omissions of `catchUp` included. A group that holds one of these must not be restored as if all were well.
    public static func save<Supply: PageSupply & ~Copyable>(
        _ catchUp: FileCatchUp, pages supply: inout Supply, toVolume volume: String, into manifest: inout RecoveryManifest
    ) -> [FileCatchUp.Omission] {
        var omissions = catchUp.omissions
        var contents: Contents?
        var failure: CheckpointError?
        for entry in catchUp.entries.filter(\.isHeld) + catchUp.entries.filter({ !$0.isHeld }) {
            guard let path = text(of: entry.path) else {
                omissions.append(.init(path: entry.path, reason: "its name is no UTF-8", isHeld: entry.isHeld))
                continue
            }
            var record = RecoveryManifest.FileCatchUp(
                path: path, inode: entry.inode, size: entry.sizeBytes, mode: entry.mode, uid: entry.uid, gid: entry.gid,
                content: nil, extents: [], isHeld: entry.isHeld, links: entry.links, isWhole: entry.isWhole)
            do throws(CheckpointError) {
                guard entry.sizeBytes <= UInt64(Int64.max) else { throw .model("its size \(entry.sizeBytes) is not a size") }
                if !entry.runs.isEmpty {
                    if let failure { throw failure }
                    if contents == nil { contents = try Contents(volume: volume) }
                    record.extents = try contents?.append(entry, from: &supply) ?? []
                    record.content = "\(directory)/\(name)"
                }
                manifest.files.append(record)
            } catch {
                // A full volume stays full: nothing more is tried, but files without contents are still listed.
                if error.isVolumeFull { failure = error }
                omissions.append(.init(path: entry.path, reason: error.description, isHeld: entry.isHeld))
            }
        }
        do throws(CheckpointError) { try contents?.finish() } catch {
            for record in manifest.files where record.content != nil {
                omissions.append(.init(path: KernelString(record.path), reason: error.description, isHeld: record.isHeld))
            }
            manifest.files.removeAll { $0.content != nil }
        }
        // A directory comes before what is in it.
        manifest.files.sort { $0.path < $1.path }
        manifest.removed += catchUp.removals.compactMap { removal in
            text(of: removal.path).map { RecoveryManifest.RemovedFile(path: $0, inode: removal.inode) }
        }
        manifest.gaps += omissions.prefix(1000).map {
            RecoveryManifest.Gap(object: "file \($0.path)", field: "page cache", address: "", reason: $0.reason)
        }
        return omissions
    }

    /// A path that the manifest can hold.
    private static func text(of path: KernelString) -> String? {
        path.isValidUTF8 && path.bytes.count < 4096 && !path.bytes.contains(0) && path.bytes.first == UInt8(ascii: "/")
            && path.bytes.count > 1
            ? path.description : nil
    }

    /// The file that holds the pages of all entries, one after the other.
    private struct Contents: ~Copyable {
        private let directory: OutputDirectory
        private var file: OutputFile

        init(volume: String) throws(CheckpointError) {
            let directory = try OutputDirectory(creating: "\(volume)/\(FileCatchUpWriter.directory)")
            let file = try OutputFile(creating: FileCatchUpWriter.name, in: directory)
            self.directory = directory
            self.file = file
        }

        /// - Returns: where each run went; the last one ends with the file.
        mutating func append<Supply: PageSupply & ~Copyable>(
            _ entry: FileCatchUp.Entry, from supply: inout Supply
        ) throws(CheckpointError) -> [RecoveryManifest.FileCatchUp.Extent] {
            var extents: [RecoveryManifest.FileCatchUp.Extent] = []
            for run in entry.runs {
                let start = file.byteCount
                var next: UInt64 = 0
                while next < UInt64(run.count) {
                    let count = min(UInt64(run.count) - next, UInt64(FrameBatch.limit))
                    let frames = (0..<count).map { FrameNumber(rawValue: run.frame.rawValue &+ next &+ $0) }
                    try append(frames, from: &supply)
                    next += count
                }
                let offset = run.address.rawValue
                let length = UInt64(run.count) &* UInt64(FrameNumber.size)
                guard offset < entry.sizeBytes else { continue }
                extents.append(.init(fileOffset: offset, length: min(length, entry.sizeBytes - offset), contentOffset: start))
            }
            return extents
        }

        private mutating func append<Supply: PageSupply & ~Copyable>(
            _ frames: [FrameNumber], from supply: inout Supply
        ) throws(CheckpointError) {
            var failure: CheckpointError?
            do throws(PageSupplyError) {
                // The pieces are read only while the supply lends them.
                try unsafe supply.lend(frames) { pieces in
                    do throws(CheckpointError) { try unsafe file.append(pieces: pieces) } catch { failure = error }
                }
            } catch {
                throw .pages(error.description)
            }
            if let failure { throw failure }
        }

        mutating func finish() throws(CheckpointError) {
            try file.finish()
            try directory.finish()
        }
    }
}
