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
        manifest.mountPoints = catchUp.mountPoints.compactMap(text)
        for mount in catchUp.mounts {
            guard let path = text(of: mount.path), mount.source.isValidUTF8, mount.device >> 20 == 0 else {
                omissions.append(.init(path: mount.path, reason: "it is a tmpfs that the agent cannot be told", isHeld: true))
                continue
            }
            manifest.memoryMounts.append(
                .init(
                    path: path, source: mount.source.description, options: mount.options, flags: mount.flags,
                    minor: UInt32(truncatingIfNeeded: mount.device)))
        }
        var contents: Contents?
        var failure: CheckpointError?
        for entry in catchUp.entries.filter(\.isHeld) + catchUp.entries.filter({ !$0.isHeld }) {
            guard let path = text(of: entry.path) else {
                omissions.append(
                    .init(
                        path: entry.path, reason: "its name is no UTF-8", isHeld: entry.isHeld,
                        file: InodeIdentity(device: entry.device, inode: entry.inode)))
                continue
            }
            var record = RecoveryManifest.FileCatchUp(
                path: path, inode: entry.inode, size: entry.sizeBytes, mode: entry.mode, uid: entry.uid, gid: entry.gid,
                content: nil, extents: [], isHeld: entry.isOpen, links: entry.links, isWhole: entry.isWhole)
            if let target = entry.target {
                guard target.isValidUTF8, !target.bytes.contains(0) else {
                    omissions.append(
                        .init(
                            path: entry.path, reason: "where it leads is no UTF-8", isHeld: entry.isHeld,
                            file: InodeIdentity(device: entry.device, inode: entry.inode)))
                    continue
                }
                record.target = target.description
            }
            record.otherName = entry.otherName.flatMap(text)
            record.modified = entry.modified.flatMap(plain)
            record.accessed = entry.accessed.flatMap(plain)
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
                omissions.append(
                    .init(
                        path: entry.path, reason: error.description, isHeld: entry.isHeld,
                        file: InodeIdentity(device: entry.device, inode: entry.inode)))
            }
        }
        // Pages are written behind the back of `append`: only now is it known how many arrived.
        if let (durable, failure) = contents?.finish(from: &supply), let failure {
            let entries = Dictionary(catchUp.entries.map { ($0.path, $0) }) { first, _ in first }
            for record in manifest.files where !record.isWithin(durable) {
                let entry = entries[KernelString(record.path)]
                omissions.append(
                    .init(
                        path: KernelString(record.path), reason: failure.description, isHeld: entry?.isHeld ?? true,
                        file: entry.map { InodeIdentity(device: $0.device, inode: $0.inode) }))
            }
            manifest.files.removeAll { !$0.isWithin(durable) }
        }
        // A directory comes before what is in it.
        manifest.files.sort { $0.path < $1.path }
        manifest.removed += catchUp.removals.compactMap { removal in
            text(of: removal.path).map { RecoveryManifest.RemovedFile(path: $0, inode: removal.inode) }
        }
        manifest.directories += catchUp.listings.compactMap { listing in
            // A name that cannot be written down would be taken for one that is gone.
            guard listing.names.allSatisfy(\.isValidUTF8), listing.path.isValidUTF8, listing.path.bytes.count < 4096 else {
                return nil
            }
            return RecoveryManifest.DirectoryListing(
                path: listing.path.description, inode: listing.inode, names: listing.names.map(\.description).sorted())
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

    /// A time that is one: a file of which the dead memory has another gets that of the restore.
    private static func plain(_ time: FileTime) -> FileTime? { time.nanoseconds < 1_000_000_000 ? time : nil }

    /// The file that holds the pages of all entries, one after the other.
    private struct Contents: ~Copyable {
        private let directory: OutputDirectory
        private var file: PagesFile

        init(volume: String) throws(CheckpointError) {
            let directory = try OutputDirectory(creating: "\(volume)/\(FileCatchUpWriter.directory)")
            let file = try PagesFile(creating: FileCatchUpWriter.name, in: directory)
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
                try file.append(run, from: &supply)
                let offset = run.address.rawValue
                let length = UInt64(run.count) &* UInt64(FrameNumber.size)
                guard offset < entry.sizeBytes else { continue }
                extents.append(.init(fileOffset: offset, length: min(length, entry.sizeBytes - offset), contentOffset: start))
            }
            // A page that cannot be read is the fault of this file, not of the next one.
            try file.read(from: &supply)
            return extents
        }

        /// - Returns: how many bytes from the first on are durable, and why not all of them.
        mutating func finish<Supply: PageSupply & ~Copyable>(from supply: inout Supply) -> (UInt64, CheckpointError?) {
            var failure: CheckpointError?
            do throws(CheckpointError) { try file.finish(from: &supply) } catch { failure = error }
            do throws(CheckpointError) { try directory.finish() } catch { return (0, error) }
            return (file.bytesWritten, failure)
        }
    }
}

extension RecoveryManifest.FileCatchUp {
    /// Whether all that is saved of the file is in the first bytes of its contents.
    fileprivate func isWithin(_ bytes: UInt64) -> Bool {
        extents.allSatisfy { $0.contentOffset &+ $0.length <= bytes }
    }
}
