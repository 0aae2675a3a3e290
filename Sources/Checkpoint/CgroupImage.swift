import ProcessModel

/// `cgroup_entry` of images/cgroup.proto for the unified hierarchy: a controller without a name.
struct CgroupImage: Sendable {
    /// The set of CRIU itself: the hierarchy's root.
    static let rootSet: UInt32 = 1

    private var paths: [KernelString] = []
    /// Where the cgroup namespace begins that CRIU is to make; nil: it makes none.
    private let namespaceRoot: KernelString?

    init(_ processes: [DeadProcess], namespaceRoot: KernelString? = nil) {
        self.namespaceRoot = namespaceRoot
        for process in processes where !paths.contains(process.cgroupPath) && !process.cgroupPath.isEmpty {
            paths.append(process.cgroupPath)
        }
    }

    /// The set of a process.
    func set(of process: DeadProcess) -> UInt32 {
        guard let index = paths.firstIndex(of: process.cgroupPath) else { return Self.rootSet }
        return Self.rootSet + 1 + UInt32(index)
    }

    func message() -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.message(1, set(Self.rootSet, path: "/"))
            for (index, path) in paths.enumerated() { entry.message(1, set(Self.rootSet + 1 + UInt32(index), path: path)) }
            entry.message(2) { controller in
                controller.string(1, "")
                let components = paths.map { $0.bytes.split(separator: UInt8(ascii: "/")).map(Array.init) }
                for directory in Self.directories(components) { controller.message(2, directory) }
            }
        }
    }

    private func set(_ id: UInt32, path: KernelString) -> ProtobufMessage {
        ProtobufMessage { set in
            set.unsigned(1, id)
            set.message(2) { member in
                member.string(1, "")
                member.data(2, path.bytes)
                if let namespaceRoot, path.bytes.starts(with: namespaceRoot.bytes) {
                    member.unsigned(3, UInt32(clamping: namespaceRoot.bytes.count))
                }
            }
        }
    }

    /// `cgroup_dir_entry` of each first component, with those below it.
    private static func directories(_ paths: [[[UInt8]]]) -> [ProtobufMessage] {
        var names: [[UInt8]] = []
        for path in paths {
            if let name = path.first, !names.contains(name) { names.append(name) }
        }
        return names.map { name in
            let below = paths.filter { $0.first == name }.map { Array($0.dropFirst()) }.filter { !$0.isEmpty }
            return ProtobufMessage { entry in
                entry.data(1, name)
                for child in directories(below) { entry.message(2, child) }
            }
        }
    }
}
