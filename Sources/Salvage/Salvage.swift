import Checkpoint
import GuestMemory
import KernelProcesses
import ProcessModel

/// Saves all protected groups of a dead kernel to a recovery volume.
public struct Salvage {
    /// What is to be said of this recovery in its manifest.
    public struct Request: Sendable {
        public var id: String
        public var guest: String
        public var salvager: RecoveryManifest.Salvager
        /// The mounted recovery volume, or any empty directory.
        public var volume: String
        /// The groups that are saved; nil for all.
        public var groups: Set<String>?

        public init(
            id: String, guest: String, salvager: RecoveryManifest.Salvager, volume: String, groups: Set<String>? = nil
        ) {
            self.id = id
            self.guest = guest
            self.salvager = salvager
            self.volume = volume
            self.groups = groups
        }
    }

    /// How far a salvage has come.
    public struct Progress: Sendable, Hashable {
        public var groupsDone: Int
        public var groups: Int
        public var bytes: UInt64
        public var pages: UInt64
    }

    private let kernel: DeadKernel
    private let request: Request
    private var manifest: RecoveryManifest

    /// Walks the kernel and writes everything; the manifest comes last, so that a salvage that was cut off restores nothing.
    /// - Throws: only when no manifest could be written; everything less becomes a verdict or a gap in it. `SwappedOut` from a minor, before it has
    ///   written anything that counts.
    public static func run(
        _ kernel: DeadKernel, _ request: Request, progress: (Progress) -> Void = { _ in }
    ) throws -> RecoveryManifest {
        var salvage = Salvage(kernel, request)
        return try salvage.run(progress)
    }

    private init(_ kernel: DeadKernel, _ request: Request) {
        self.kernel = kernel
        self.request = request
        manifest = RecoveryManifest(
            id: request.id, guest: request.guest, kernel: kernel.manifest.info.release,
            cause: kernel.panicMessage() ?? "unknown: the kernel's log tells of no panic", crashedAt: 0,
            salvagedBy: request.salvager)
    }

    private mutating func run(_ progress: (Progress) -> Void) throws -> RecoveryManifest {
        let read = read()
        // A minor has the guest's disks only when it has asked for them.
        if request.salvager == .minor, kernel.disks.isEmpty, let missing = SwappedOut(read, of: kernel) { throw missing }
        // Room for the manifest is taken first: on a volume that runs full the groups that fit are still restored.
        let file = try ManifestFile(reservingIn: request.volume)
        let groups = catchUpFiles(of: read)
        write(groups, progress)
        finish()
        try file.commit(manifest)
        return manifest
    }

    private mutating func read() -> [ReadGroup] {
        let start = wallClock()
        let groups = kernel.groups(named: request.groups)
        if let clocks = groups.first?.group.clocks {
            manifest.crashedAt = Double(clocks.realtimeNanoseconds) / 1e9
        } else if let clocks = try? kernel.clocks() {
            manifest.crashedAt = Double(clocks.realtimeNanoseconds) / 1e9
        }
        manifest.timeline.append(.init(name: "reading", start: start, seconds: wallClock() - start))
        return groups
    }

    /// Saves what the files had beyond the disk. A group that uses a file which cannot be brought to that state is not restored: its processes would
    /// go on with another file than they had seen.
    private mutating func catchUpFiles(of groups: [ReadGroup]) -> [ReadGroup] {
        // Where no group comes back no file has to be what it was for one, and what cannot be had of each would only be said once more.
        guard !groups.allSatisfy(\.lacksPages) else { return groups }
        let start = wallClock()
        let catchUp = kernel.fileCatchUp(for: groups.map(\.group))
        var pages = kernel.fileCatchUpPages()
        let omissions = FileCatchUpWriter.save(catchUp, pages: &pages, toVolume: request.volume, into: &manifest)
        let reasons = Dictionary(omissions.filter(\.isHeld).map { ($0.path, $0.reason) }) { first, _ in first }
        let lost = Dictionary(
            omissions.filter(\.isHeld).compactMap { omission in omission.file.map { ($0, omission.reason) } }
        ) { first, _ in first }
        manifest.timeline.append(
            .init(
                name: "files", start: start, seconds: wallClock() - start,
                bytes: manifest.files.reduce(0) { $0 &+ $1.extents.reduce(0) { $0 &+ $1.length } }, pages: catchUp.pageCount))
        return groups.map { read in
            var read = read
            for file in read.group.openFiles.values {
                guard case .path(let node) = file.kind else { continue }
                let places = [InodeIdentity(device: node.device, inode: node.inode)] + [node.layer].compactMap { $0 }
                guard let reason = places.lazy.compactMap({ lost[$0] ?? catchUp.faults[$0.device] }).first else { continue }
                read.group.obstacles.append(
                    Obstacle(.refused, pid: nil, reason: "what was written to \(node.path) is lost: \(reason)"))
            }
            for mount in read.group.mountNamespaces.values.flatMap(\.mounts) where mount.showsLostMemory {
                guard let place = mount.guestPath,
                    let (path, reason) = reasons.first(where: { $0.key.isPath(atOrBelow: place) })
                else { continue }
                read.group.obstacles.append(
                    Obstacle(.refused, pid: nil, reason: "\(path), which its mount namespace shows, is lost: \(reason)"))
            }
            return read
        }
    }

    private mutating func write(_ groups: [ReadGroup], _ progress: (Progress) -> Void) {
        let start = wallClock()
        var state = Progress(groupsDone: 0, groups: groups.count, bytes: 0, pages: 0)
        for read in groups {
            var pages = read.pages
            let saved = GroupCheckpoint.save(read.group, pages: &pages, toVolume: request.volume)
            manifest.groups.append(saved)
            state.groupsDone += 1
            state.bytes &+= saved.bytes
            state.pages &+= saved.pages
            progress(state)
        }
        manifest.timeline.append(
            .init(name: "writing", start: start, seconds: wallClock() - start, bytes: state.bytes, pages: state.pages))
        let ids = groups.flatMap { $0.group.processes }.flatMap { process in
            [process.pid, process.processGroupID, process.sessionID] + process.threads.map(\.tid)
        }
        manifest.largestPID = ids.max() ?? 0
    }

    private mutating func finish() {
        manifest.gaps += kernel.gaps.prefix(Self.gapLimit).map { gap in
            let address =
                switch gap.fault.place {
                case .physical(let address): "\(address)"
                case .virtual(let address): "\(address)"
                }
            return RecoveryManifest.Gap(object: gap.object, field: gap.field, address: address, reason: "\(gap.fault)")
        }
    }

    /// Gaps that are listed; a kernel with more is damaged beyond what a list would tell.
    private static let gapLimit = 1000
}
