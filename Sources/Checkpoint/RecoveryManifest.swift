import ProcessModel

/// `recovery.json` at the root of a recovery volume: what was saved, how good it is, and what else the restore has to do. Written last, so that a volume without
/// it holds nothing to restore.
public struct RecoveryManifest: Sendable, Equatable {
    public static let schema = "xenpr.recovery/1"

    /// Of this recovery, unique in the guest's history.
    public var id: String
    public var guest: String
    /// Release of the dead kernel.
    public var kernel: String
    /// Why it died, as its log says.
    public var cause: String
    /// Seconds since the epoch, by the guest's own clock.
    public var crashedAt: Double
    public var salvagedBy: Salvager
    /// The largest process, group or session id that is to be restored: the next kernel keeps clear of it.
    public var largestPID: Int32
    public var timeline: [Phase]
    public var groups: [Group]
    /// Before the files, which may be in them.
    public var memoryMounts: [MemoryMount] = []
    /// Where filesystems on disks have to be mounted that the files are in.
    public var mountPoints: [String] = []
    public var files: [FileCatchUp]
    public var removed: [RemovedFile]
    public var directories: [DirectoryListing] = []
    public var gaps: [Gap]

    public init(id: String, guest: String, kernel: String, cause: String, crashedAt: Double, salvagedBy: Salvager) {
        self.id = id
        self.guest = guest
        self.kernel = kernel
        self.cause = cause
        self.crashedAt = crashedAt
        self.salvagedBy = salvagedBy
        self.largestPID = 0
        self.timeline = []
        self.groups = []
        self.files = []
        self.removed = []
        self.gaps = []
    }

    /// Who read the dead memory.
    public enum Salvager: String, Sendable, CaseIterable {
        case minor, control, offline
    }

    /// A step of the salvage; times in seconds since the epoch, or since the crash where the clock is not known.
    public struct Phase: Sendable, Equatable {
        public var name: String
        public var start: Double
        public var seconds: Double
        public var bytes: UInt64
        public var pages: UInt64

        public init(name: String, start: Double, seconds: Double, bytes: UInt64 = 0, pages: UInt64 = 0) {
            self.name = name
            self.start = start
            self.seconds = seconds
            self.bytes = bytes
            self.pages = pages
        }
    }

    public struct Group: Sendable, Equatable {
        public var name: String
        /// Path in the unified hierarchy.
        public var cgroup: String
        public var verdict: Verdict
        public var reasons: [String]
        /// Directory of the images, relative to the volume; nil: nothing was kept.
        public var images: String?
        public var rootPID: Int32
        /// Its ids are those of a pid namespace of its own, of which the root is process 1.
        public var hasPIDNamespace = false
        /// All of its processes run without transparent huge pages (PR_SET_THP_DISABLE), which the agent hands on to them.
        public var disablesHugePages = false
        /// Pages of hugetlb that the guest has to have free for it.
        public var reservedPages: [ReservedPages] = []
        /// Its own cgroup and those below it, each after the one it lies in.
        public var cgroups: [Cgroup] = []
        /// The path, from its own cgroup on, of that which is the root of its cgroup namespace; empty: its own. nil: it is in the guest's namespace.
        public var cgroupRoot: String?
        /// The directory that is the root of its own mount namespace; nil: it has none.
        public var mountRoot: String?
        /// What the agent mounts there before anything else; nil: the guest has it.
        public var overlay: Overlay?
        /// MS_* that its root has to get; nil: it is as the guest has it.
        public var mountRootFlags: UInt64?
        /// CRIU has to mount as it did before Linux 5.15.
        public var needsOldMounts = false
        /// What of the guest is mounted there.
        public var mounts: [Mount] = []
        /// Where the guest has to have something mounted before the group is restored.
        public var requiredMounts: [String] = []
        /// What has to be registered with binfmt_misc.
        public var formats: [Format] = []
        /// Network devices that have to have the same numbers, by which packet sockets are bound to them.
        public var requiredDevices: [Device] = []
        /// Numbers N of the /dev/pts/N that CRIU will make: nobody else may have them then.
        public var pseudoTerminals: [UInt32]
        public var processes: [Process]
        /// Size of all its images.
        public var bytes: UInt64
        public var pages: UInt64
        /// Those that the agent has to set options of.
        public var sockets: [Socket] = []
        /// Those that the agent has to fill.
        public var pipes: [Pipe] = []
        /// Open files that the agent makes and lends to CRIU.
        public var lentFiles: [LentFile] = []
        /// The guest's group that is group 0 in its own user namespace, whose root restores it and so has to read its images; nil: it has none.
        public var imagesGroup: UInt32?
        /// It is in a network namespace of its own. Its images lock the connections in it, and the agent unlocks them.
        public var hasNetworkNamespace = false
        /// What connects that namespace with the guest.
        public var links: [Link] = []
        /// Devices of the guest that its macvlans lie on.
        public var lowerDevices: [LowerDevice] = []
        /// What that namespace has below /proc/sys/net.
        public var networkSettings: [NetworkSetting] = []
        /// Further network namespaces of its processes.
        public var innerNetworks: [InnerNetwork] = []
        /// The file beside the images that has the packet filter of that of its root; nil: there are no rules.
        public var packetFilter: String?
        /// TCP connections that go on, which nobody may hear of before they are there again.
        public var connections: [Connection] = []

        public init(name: String, cgroup: String, verdict: Verdict, reasons: [String], images: String?, rootPID: Int32) {
            self.name = name
            self.cgroup = cgroup
            self.verdict = verdict
            self.reasons = reasons
            self.images = images
            self.rootPID = rootPID
            self.pseudoTerminals = []
            self.processes = []
            self.bytes = 0
            self.pages = 0
        }
    }

    /// A network namespace that is not that of the group's root.
    public struct InnerNetwork: Sendable, Equatable {
        /// A process of the group that is in it.
        public var pid: Int32
        /// What it has below /proc/sys/net.
        public var settings: [NetworkSetting]
        public var packetFilter: String?

        public init(pid: Int32, settings: [NetworkSetting], packetFilter: String? = nil) {
            self.pid = pid
            self.settings = settings
            self.packetFilter = packetFilter
        }
    }

    /// A pair of devices (veth), one of which is in a group's own network namespace.
    public struct Link: Sendable, Equatable {
        /// The name of that one, which CRIU makes, with the other.
        public var device: String
        /// The one in the guest.
        public var peer: LinkEnd
        /// What the peer is a port of.
        public var bridge: LinkEnd?
    }

    /// A network device of the guest that one of a group's own lies on (macvlan).
    public struct LowerDevice: Sendable, Equatable {
        /// The name of that one.
        public var device: String
        public var lower: LinkEnd
        /// Its number where it is a bridge, which the agent makes if nobody has; nil: it is none.
        public var bridgeNumber: UInt32?
    }

    /// A network device of the guest, and what the agent gives it.
    public struct LinkEnd: Sendable, Equatable {
        public var name: String
        public var isUp: Bool
        /// As "02:42:ac:11:00:02".
        public var hardwareAddress: String
        /// With the lengths of their prefixes, as "172.17.0.1/16".
        public var addresses: [String]
        /// The largest packet that it sends; nil: it stays as it is made.
        public var mtu: UInt32?

        /// What a veth or a bridge can have (ETH_MIN_MTU and ETH_MAX_MTU).
        static let mtus: ClosedRange<UInt32> = 68...65535
    }

    /// A file or directory of the guest that is mounted in a group's own mount namespace.
    public struct Mount: Sendable, Equatable {
        /// What the images call it.
        public var key: String
        public var path: String

        public init(key: String, path: String) {
            self.key = key
            self.path = path
        }
    }

    /// A network device and its number (`ifindex`).
    public struct Device: Sendable, Equatable {
        public var name: String
        public var number: Int32

        public init(name: String, number: Int32) {
            self.name = name
            self.number = number
        }
    }

    /// A cgroup, and what the agent does to it.
    public struct Cgroup: Sendable, Equatable {
        /// From the group's own on; empty: its own.
        public var path: String
        public var controllers: [String]
        public var settings: [ControlGroup.Setting]
        public var deviceFilters: [ControlGroup.DeviceFilter]
    }

    /// Pages of one size in the guest's pool (Documentation/admin-guide/mm/hugetlbpage.rst).
    public struct ReservedPages: Sendable, Equatable {
        public var sizeBytes: UInt64
        public var count: UInt64
    }

    /// An overlay on directories of the guest.
    public struct Overlay: Sendable, Equatable {
        /// The topmost first.
        public var lower: [String]
        /// nil: nothing can be written.
        public var upper: String?
        public var work: String?
        /// Further options of mount(2).
        public var options: String
    }

    /// A socket of a process, and options that CRIU has not set.
    public struct Socket: Sendable, Equatable {
        public var pid: Int32
        public var descriptor: Int32
        public var options: [LateSocketOption]

        public init(pid: Int32, descriptor: Int32, options: [LateSocketOption]) {
            self.pid = pid
            self.descriptor = descriptor
            self.options = options
        }
    }

    /// A pipe in which packets wait (O_DIRECT), by an end of it.
    public struct Pipe: Sendable, Equatable {
        public var pid: Int32
        public var descriptor: Int32
        /// The name of the file beside the images that has all the bytes, without its ".img".
        public var contents: String
        public var pieces: [ProcessModel.Pipe.Piece]
    }

    /// An open file of a kind that CRIU makes none of.
    public struct LentFile: Sendable, Equatable {
        public enum Kind: Sendable, Equatable {
            /// An eventfd of which a read takes one (EFD_SEMAPHORE).
            case semaphore(counter: UInt64)
            /// A POSIX message queue, with the name of the file beside the images that has all its messages, without its ".img". The messages themselves are not kept here.
            case queue(PosixQueue, contents: String)
        }

        /// What stands for it in the images.
        public var name: String
        /// O_*.
        public var flags: UInt32
        public var kind: Kind
    }

    /// The ports of a TCP connection.
    public struct Connection: Sendable, Equatable {
        public var source: UInt16
        public var destination: UInt16

        public init(source: UInt16, destination: UInt16) {
            self.source = source
            self.destination = destination
        }
    }

    public struct Process: Sendable, Equatable {
        public var pid: Int32
        public var command: String
        public var verdict: Verdict
        public var reasons: [String]
        public var memoryBytes: UInt64
        /// Open descriptors that are no sockets.
        public var files: Int
        public var sockets: Int
        /// The path of its cgroup from the group's own on; nil: it is in that.
        public var cgroup: String?
        /// What CRIU does not set again.
        public var threads: [ThreadAttributes]

        public init(
            pid: Int32, command: String, verdict: Verdict, reasons: [String], memoryBytes: UInt64, files: Int, sockets: Int,
            threads: [ThreadAttributes]
        ) {
            self.pid = pid
            self.command = command
            self.verdict = verdict
            self.reasons = reasons
            self.memoryBytes = memoryBytes
            self.files = files
            self.sockets = sockets
            self.threads = threads
        }
    }

    /// What the agent sets after the restore, for CRIU does not.
    public struct ThreadAttributes: Sendable, Equatable {
        public var tid: Int32
        /// The CPUs it may run on; nil: all.
        public var cpus: [Int]?
        /// nil: the default of 50 µs.
        public var timerSlackNanoseconds: UInt64?
        /// As ioprio_set(2) takes it; nil: none was set.
        public var ioPriority: UInt16?
        /// What of the process's memory goes into a core dump, as /proc/PID/coredump_filter has it; nil: the default, or not the leader.
        public var coredumpFilter: UInt32?

        public init(tid: Int32) { self.tid = tid }

        /// Whether there is nothing to set.
        var isEmpty: Bool { self == Self(tid: tid) }
    }

    /// A file as the dead kernel's page cache had it.
    public struct FileCatchUp: Sendable, Equatable {
        public var path: String
        public var inode: UInt64
        public var size: UInt64
        public var mode: UInt32
        public var uid: UInt32
        public var gid: UInt32
        /// File on the volume, relative to it, that holds the extents one after the other.
        public var content: String?
        public var extents: [Extent]
        /// A process of a group has it open.
        public var isHeld: Bool
        /// How many names it had.
        public var links: UInt32
        /// What no extent covers is zeros, whether the file is still there or not.
        public var isWhole: Bool
        /// Where a symbolic link leads.
        public var target: String?
        /// The path of another one of these, which is the same file.
        public var otherName: String?
        /// What the agent sets its times to once it is as it was; nil: they stay.
        public var modified: FileTime?
        public var accessed: FileTime?

        public struct Extent: Sendable, Equatable {
            public var fileOffset: UInt64
            public var length: UInt64
            public var contentOffset: UInt64

            public init(fileOffset: UInt64, length: UInt64, contentOffset: UInt64) {
                self.fileOffset = fileOffset
                self.length = length
                self.contentOffset = contentOffset
            }
        }

        public init(
            path: String, inode: UInt64, size: UInt64, mode: UInt32, uid: UInt32, gid: UInt32, content: String?,
            extents: [Extent], isHeld: Bool = true, links: UInt32 = 1, isWhole: Bool = false
        ) {
            self.path = path
            self.inode = inode
            self.size = size
            self.mode = mode
            self.uid = uid
            self.gid = gid
            self.content = content
            self.extents = extents
            self.isHeld = isHeld
            self.links = links
            self.isWhole = isWhole
        }
    }

    /// A format of programs.
    public struct Format: Sendable, Equatable {
        public var name: String
        /// What is written to `register`.
        public var registration: [UInt8]
        public var isEnabled: Bool

        public init(name: String, registration: [UInt8], isEnabled: Bool) {
            self.name = name
            self.registration = registration
            self.isEnabled = isEnabled
        }
    }

    /// A tmpfs that the guest had mounted, and that no boot mounts by itself.
    public struct MemoryMount: Sendable, Equatable {
        public var path: String
        /// What mount(2) is told as its source and data, and MS_*.
        public var source: String
        public var options: String
        public var flags: UInt64
        /// The minor number of its device; the major number is 0.
        public var minor: UInt32

        public init(path: String, source: String, options: String, flags: UInt64, minor: UInt32) {
            self.path = path
            self.source = source
            self.options = options
            self.flags = flags
            self.minor = minor
        }
    }

    /// A directory that changed shortly before the crash, with all names that it had.
    public struct DirectoryListing: Sendable, Equatable {
        public var path: String
        public var inode: UInt64
        public var names: [String]

        public init(path: String, inode: UInt64, names: [String]) {
            self.path = path
            self.inode = inode
            self.names = names
        }
    }

    /// A name that the processes had removed.
    public struct RemovedFile: Sendable, Equatable {
        public var path: String
        /// The inode it had led to; nil: not known.
        public var inode: UInt64?

        public init(path: String, inode: UInt64?) {
            self.path = path
            self.inode = inode
        }
    }

    /// Something of the dead kernel that could not be read.
    public struct Gap: Sendable, Equatable {
        public var object: String
        public var field: String
        public var address: String
        public var reason: String

        public init(object: String, field: String, address: String, reason: String) {
            self.object = object
            self.field = field
            self.address = address
            self.reason = reason
        }
    }
}
