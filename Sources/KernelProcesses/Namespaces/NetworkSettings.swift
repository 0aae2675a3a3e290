import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What is below /proc/sys/net: `struct ctl_table_set` of a network namespace and the directories in it (include/linux/sysctl.h, fs/proc/proc_sysctl.c).
struct NetworkSettingsLayout: Sendable {
    let directory: Field
    let root: Field
    let node: Field
    let nodeSize: Int
    let nodeHeader: Field
    let table, firstNode: Field
    let name, value, length, mode, handler: Field
    let entrySize: Int
    let tree: RedBlackTreeLayout
    /// `tcp_congestion_ops.name`; nil in a kernel without TCP.
    let congestionName: Field?
    /// In `struct ipv6_stable_secret`.
    let secretIsSet, secret: Int?

    /// nil for a kernel without sysctls, or with other structures.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            directory = try types.structure("net").field("sysctls.dir")
            root = try types.structure("ctl_dir").field("root.rb_node")
            let node = try types.structure("ctl_node")
            self.node = try node.field("node")
            nodeHeader = try node.field("header")
            nodeSize = node.size
            let header = try types.structure("ctl_table_header")
            table = try header.field("ctl_table")
            firstNode = try header.field("node")
            let entry = try types.structure("ctl_table")
            name = try entry.field("procname")
            value = try entry.field("data")
            length = try entry.field("maxlen")
            mode = try entry.field("mode")
            handler = try entry.field("proc_handler")
            entrySize = entry.size
            tree = try RedBlackTreeLayout(types)
            let device = try? types.structure("ipv6_devconf")
            let start = device?.optional("stable_secret")?.offset
            func place(_ member: String) -> Int? {
                guard let start, let field = device?.optional("stable_secret.\(member)") else { return nil }
                return field.offset - start
            }
            secretIsSet = place("initialized")
            secret = place("secret")
            congestionName = (try? types.structure("tcp_congestion_ops"))?.optional("name")
        } catch {
            return nil
        }
    }
}

/// How the kernel writes a setting's value as text.
private enum SettingFormat {
    case signed, unsigned, bytes, longs
    /// Two numbers of 32 bits, or of 16 in one word since 6.8, when the setting leads to the namespace itself.
    case ports
    /// One bit for each number, as ranges; the setting leads to them, and its length counts them.
    case bitmap
    /// The name of what the setting leads to, a `struct tcp_congestion_ops`.
    case congestion
    /// `struct ipv6_stable_secret`: an address of IPv6, once somebody has set it.
    case secret
    /// Numbers of ticks, told in seconds, in milliseconds, or in hundredths of a second (USER_HZ).
    case seconds, milliseconds, hundredths

    /// By the function that reads and writes it, of the kernels 5.10 to 7.2.
    static let functions: [String: SettingFormat] = [
        "proc_dointvec": .signed, "proc_dointvec_minmax": .signed, "proc_douintvec": .unsigned,
        "proc_douintvec_minmax": .unsigned, "proc_dou8vec_minmax": .bytes, "proc_doulongvec_minmax": .longs,
        "devinet_sysctl_forward": .signed, "devinet_conf_proc": .signed, "ipv4_doint_and_flush": .signed,
        "ipv4_privileged_ports": .signed, "ipv4_local_port_range": .ports, "ipv4_ping_group_range": .unsigned,
        "ipv4_fwd_update_priority": .bytes, "addrconf_sysctl_forward": .signed,
        "addrconf_sysctl_mtu": .signed, "addrconf_sysctl_proxy_ndp": .signed, "addrconf_sysctl_disable": .signed,
        "addrconf_sysctl_addr_gen_mode": .signed, "addrconf_sysctl_ignore_routes_with_linkdown": .signed,
        "addrconf_sysctl_disable_policy": .signed, "proc_do_large_bitmap": .bitmap,
        "proc_tcp_congestion_control": .congestion, "addrconf_sysctl_stable_secret": .secret, "proc_dointvec_jiffies": .seconds,
        "proc_dointvec_ms_jiffies": .milliseconds, "proc_dointvec_userhz_jiffies": .hundredths,
        "neigh_proc_dointvec": .signed, "neigh_proc_dointvec_zero_intmax": .signed, "neigh_proc_dointvec_jiffies": .seconds,
        "neigh_proc_dointvec_ms_jiffies": .milliseconds, "neigh_proc_dointvec_ms_jiffies_positive": .milliseconds,
        "neigh_proc_dointvec_userhz_jiffies": .hundredths,
    ]

    /// - Parameter ticks: in a second, HZ.
    func text(_ bytes: [UInt8], ticks: UInt64) -> String? {
        func numbers(_ size: Int) -> [UInt64] {
            stride(from: 0, to: bytes.count - bytes.count % size, by: size).map { start in
                bytes[start..<start + size].reversed().reduce(0) { $0 << 8 | UInt64($1) }
            }
        }
        /// nil for what is no whole number of the unit: it would be another one when it is written again.
        func times(_ unit: Int64) -> String? {
            let values = numbers(4).map { Int64(Int32(truncatingIfNeeded: $0)) * unit }
            guard let hertz = Int64(exactly: ticks), hertz > 0, !values.isEmpty, values.allSatisfy({ $0 % hertz == 0 }) else {
                return nil
            }
            return values.map { String($0 / hertz) }.joined(separator: " ")
        }
        let words: [String]
        switch self {
        case .signed: words = numbers(4).map { String(Int32(truncatingIfNeeded: $0)) }
        case .unsigned: words = numbers(4).map { String($0) }
        case .bytes: words = numbers(1).map { String($0) }
        case .longs: words = numbers(8).map { String($0) }
        case .ports: words = numbers(bytes.count == 4 ? 2 : 4).map { String($0) }
        case .bitmap: return Self.ranges(bytes)
        case .seconds: return times(1)
        case .milliseconds: return times(1000)
        case .hundredths: return times(100)
        case .secret:
            // `initialized` comes before the address.
            guard bytes.count == 17, bytes[0] != 0 else { return nil }
            return stride(from: 1, to: 17, by: 2).map { index in
                let word = String(UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1]), radix: 16)
                return String(repeating: "0", count: 4 - word.utf8.count) + word
            }.joined(separator: ":")
        case .congestion:
            let name = bytes.prefix { $0 != 0 }
            return name.isEmpty ? nil : String(decoding: name, as: UTF8.self)
        }
        return words.isEmpty ? nil : words.joined(separator: " ")
    }
}

extension SettingFormat {
    fileprivate var isTime: Bool {
        switch self {
        case .seconds, .milliseconds, .hundredths: true
        default: false
        }
    }

    /// As proc_do_large_bitmap of kernel/sysctl.c writes them; nil for no bit at all, as it is where nobody has set one.
    private static func ranges(_ bytes: [UInt8]) -> String? {
        var ranges: [String] = []
        var start: Int?
        for bit in 0...bytes.count * 8 {
            let isSet = bit < bytes.count * 8 && bytes[bit / 8] >> (bit % 8) & 1 == 1
            if isSet, start == nil { start = bit }
            if !isSet, let first = start {
                ranges.append(first == bit - 1 ? "\(first)" : "\(first)-\(bit - 1)")
                start = nil
            }
        }
        return ranges.isEmpty ? nil : ranges.joined(separator: ",")
    }
}

extension GroupBuilder {
    private static let entryLimit = 1 << 14
    private static let depthLimit = 16
    private static let nameLimit = 128
    private static let valueLimit: UInt64 = 256
    private static let bitLimit: UInt64 = 65_536
    private static let typeMask: UInt64 = 0o170000
    private static let directoryType: UInt64 = 0o040000
    /// Who may change it may read it: others are asked to do something.
    private static let readAndWrite: UInt64 = 0o600

    static let settingFunctions: Set<String> = Set(SettingFormat.functions.keys)

    /// A setting as it lies in memory.
    private struct RawSetting {
        var place: VirtualAddress
        var format: SettingFormat?
        var bytes: [UInt8]
    }

    /// Reads what a network namespace has below /proc/sys/net. A value that is not understood counts only where it is a number and not the guest's; what an
    /// unknown function takes for its value can be anything.
    func readSettings(
        of namespace: VirtualAddress, guest: VirtualAddress, _ layout: NetworkSettingsLayout,
        into result: inout NetworkNamespace
    ) throws(MemoryFault) {
        let others = try settings(of: guest, layout)
        let ticks = files.ticksPerSecond
        let own = try settings(of: namespace, layout).sorted { $0.key < $1.key }
        // Some can be told in two units.
        var told: Set<VirtualAddress> = []
        for (path, setting) in own {
            guard let text = setting.format?.text(setting.bytes, ticks: ticks) else { continue }
            result.settings.append(NetworkSetting(path: path, value: text))
            told.insert(setting.place)
        }
        for (path, setting) in own where !told.contains(setting.place) {
            if setting.format?.isTime == true, let other = others[path], other.bytes != setting.bytes {
                result.lostSettings.append(path)
            }
        }
    }

    private func settings(of namespace: VirtualAddress, _ layout: NetworkSettingsLayout) throws(MemoryFault) -> [String:
        RawSetting]
    {
        let reader = kernel.reader
        var formats: [VirtualAddress: SettingFormat] = [:]
        for (name, format) in SettingFormat.functions {
            if let address = kernel.manifest.symbols.addresses[name] { formats[address] = format }
        }
        var result: [String: RawSetting] = [:]
        var seen = 0
        var waiting = [(directory: namespace + layout.directory.offset, path: "", depth: 0)]
        while let (directory, path, depth) = waiting.popLast() {
            guard depth < Self.depthLimit else { throw MemoryFault(.damaged("settings too deep"), at: directory) }
            var nodes: [VirtualAddress] = []
            let fault = reader.forEach(
                inRedBlackTree: directory + layout.root.offset, link: layout.node, layout: layout.tree, limit: Self.entryLimit,
                { nodes.append($0) })
            if let fault { throw fault }
            for node in nodes {
                seen += 1
                guard seen <= Self.entryLimit else { throw MemoryFault(.damaged("too many settings"), at: directory) }
                // The nodes of a table are an array beside it (insert_entry).
                let header = try reader.pointer(layout.nodeHeader, of: node)
                let first = try reader.pointer(layout.firstNode, of: header)
                guard first <= node, (node.rawValue - first.rawValue) % UInt64(layout.nodeSize) == 0 else {
                    throw MemoryFault(.damaged("setting outside of its table"), at: node)
                }
                let index = Int((node.rawValue - first.rawValue) / UInt64(layout.nodeSize))
                guard index < Self.entryLimit else { throw MemoryFault(.damaged("setting outside of its table"), at: node) }
                let entry = try reader.pointer(layout.table, of: header) + index * layout.entrySize
                let name = try reader.memory.string(at: reader.pointer(layout.name, of: entry), limit: Self.nameLimit)
                guard !name.isEmpty, name != ".", name != "..", !name.contains("/") else {
                    throw MemoryFault(.damaged("name of a setting"), at: entry)
                }
                let mode = try reader.value(layout.mode, of: entry)
                let place = path.isEmpty ? name : path + "/" + name
                if mode & Self.typeMask == Self.directoryType {
                    // The header is the first member of its `struct ctl_dir`.
                    waiting.append((header, place, depth + 1))
                } else if mode & Self.typeMask == 0, mode & Self.readAndWrite == Self.readAndWrite {
                    let value = try reader.pointer(layout.value, of: entry)
                    let length = try reader.value(layout.length, of: entry)
                    let format = formats[try reader.pointer(layout.handler, of: entry)]
                    if !value.isNull, let bytes = try bytes(at: value, length: length, format, layout) {
                        result[place] = RawSetting(place: value, format: format, bytes: bytes)
                    }
                }
            }
        }
        return result
    }

    /// nil where there is none, or one that is longer than any that is known.
    private func bytes(at value: VirtualAddress, length: UInt64, _ format: SettingFormat?, _ layout: NetworkSettingsLayout)
        throws(MemoryFault) -> [UInt8]?
    {
        let reader = kernel.reader
        switch format {
        case nil: return nil
        case .ports where length == 0:
            guard let range = (try? kernel.manifest.types.structure("net"))?.optional("ipv4.ip_local_ports.range") else {
                return nil
            }
            return try reader.bytes(range, of: value)
        case .bitmap:
            let bits = try reader.memory.pointer(at: value)
            return bits.isNull || length > Self.bitLimit ? nil : try reader.memory.bytes(at: bits, count: Int((length + 7) / 8))
        case .congestion:
            let operations = try reader.memory.pointer(at: value)
            guard !operations.isNull, let name = layout.congestionName else { return nil }
            return try reader.bytes(name, of: operations)
        case .secret:
            guard let secret = layout.secret, let isSet = layout.secretIsSet else { return nil }
            // The setting leads to the structure, its length is that of the text.
            let flag = try reader.memory.bytes(at: value + isSet, count: 1)
            return try flag + reader.memory.bytes(at: value + secret, count: 16)
        default: return length == 0 || length > Self.valueLimit ? nil : try reader.memory.bytes(at: value, count: Int(length))
        }
    }
}
