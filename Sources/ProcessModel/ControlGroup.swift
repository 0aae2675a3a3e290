/// A cgroup (v2) of a protected group: its own, or one below.
public struct ControlGroup: Sendable, Hashable {
    /// A file of the cgroup and what is written to it; only what is not as the kernel makes it.
    public struct Setting: Sendable, Hashable {
        /// `memory.max`
        public var name: String
        public var value: String

        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// A program (BPF_PROG_TYPE_CGROUP_DEVICE) that decides which devices may be opened and made.
    public struct DeviceFilter: Sendable, Hashable {
        /// `struct bpf_insn`, as the kernel reads them on a little-endian machine.
        public var instructions: [UInt64]
        /// BPF_F_ALLOW_OVERRIDE and BPF_F_ALLOW_MULTI of bpf(2).
        public var attachFlags: UInt32

        public init(instructions: [UInt64], attachFlags: UInt32) {
            self.instructions = instructions
            self.attachFlags = attachFlags
        }
    }

    /// In the unified hierarchy, at or below the path of the group's own.
    public var path: KernelString
    /// The controllers that it is under (`cgroup.controllers`).
    public var controllers: [String] = []
    public var settings: [Setting] = []
    /// In the order in which they were attached.
    public var deviceFilters: [DeviceFilter] = []

    public init(path: KernelString) {
        self.path = path
    }
}
