/// The rule sets of nf_tables that a network namespace has (include/net/netfilter/nf_tables.h), also those that iptables has made of its rules.
///
/// Expressions and the data of stateful objects are what the kernel itself would tell of them: attributes of include/uapi/linux/netfilter/nf_tables.h.
public struct PacketFilter: Sendable, Hashable {
    public var tables: [Table] = []

    public init() {}

    public var isEmpty: Bool { tables.isEmpty }

    /// An attribute of netlink; numbers in it are in network order.
    public struct Attribute: Sendable, Hashable {
        public enum Value: Sendable, Hashable {
            case bytes([UInt8])
            case nested([Attribute])
        }

        public var number: UInt16
        public var value: Value

        public init(_ number: UInt16, _ bytes: [UInt8]) {
            self.number = number
            value = .bytes(bytes)
        }

        public init(_ number: UInt16, nested: [Attribute]) {
            self.number = number
            value = .nested(nested)
        }
    }

    /// `struct nft_table`.
    public struct Table: Sendable, Hashable {
        /// NFPROTO_*.
        public var family: UInt8
        public var name: KernelString
        /// NFT_TABLE_F_*.
        public var flags: UInt32 = 0
        /// What whoever made it has noted with it, as comments; empty: nothing.
        public var userData: [UInt8] = []
        public var chains: [Chain] = []
        public var sets: [ElementSet] = []
        public var objects: [StatefulObject] = []

        public init(family: UInt8, name: KernelString) {
            self.family = family
            self.name = name
        }
    }

    /// `struct nft_chain`.
    public struct Chain: Sendable, Hashable {
        public var name: KernelString
        /// It belongs to the one rule that leads to it (NFT_CHAIN_BINDING).
        public var isBound = false
        public var userData: [UInt8] = []
        /// nil: only rules lead to it.
        public var base: Base?
        public var rules: [Rule] = []

        public init(name: KernelString) { self.name = name }
    }

    /// `struct nft_base_chain`: where packets come into a chain by themselves.
    public struct Base: Sendable, Hashable {
        /// NF_INET_* or of another family.
        public var hook: UInt32
        public var priority: Int32
        /// "filter", "nat" or "route".
        public var type: KernelString
        /// NF_DROP or NF_ACCEPT.
        public var policy: UInt32
        /// Names of those that it is for; empty: all.
        public var devices: [KernelString] = []
        /// nil: packets that it decides about are not counted.
        public var counters: Counters?

        public init(hook: UInt32, priority: Int32, type: KernelString, policy: UInt32) {
            self.hook = hook
            self.priority = priority
            self.type = type
            self.policy = policy
        }
    }

    /// `struct nft_stats`, of all CPUs.
    public struct Counters: Sendable, Hashable {
        public var bytes: UInt64
        public var packets: UInt64

        public init(bytes: UInt64, packets: UInt64) {
            self.bytes = bytes
            self.packets = packets
        }
    }

    /// `struct nft_rule`.
    public struct Rule: Sendable, Hashable {
        public var expressions: [Expression] = []
        public var userData: [UInt8] = []
        /// The protocol that the rule is for, which matches and targets of iptables want to know; nil: of none of these, or for any protocol.
        public var layer4: ProtocolTest?

        public init() {}
    }

    /// Whether a packet is, or is not, of a protocol (IPPROTO_*).
    public struct ProtocolTest: Sendable, Hashable {
        public var number: UInt8
        public var isInverted: Bool

        public init(number: UInt8, isInverted: Bool) {
            self.number = number
            self.isInverted = isInverted
        }
    }

    /// `struct nft_expr`.
    public struct Expression: Sendable, Hashable {
        /// `nft_expr_type.name`.
        public var name: KernelString
        /// nil for one that has nothing to say, as "notrack".
        public var attributes: [Attribute]?

        public init(name: KernelString, attributes: [Attribute]?) {
            self.name = name
            self.attributes = attributes
        }
    }

    /// `struct nft_set`: a set, or a map.
    public struct ElementSet: Sendable, Hashable {
        public var name: KernelString
        /// NFT_SET_*.
        public var flags: UInt32
        /// Types are those of whoever made it; the kernel knows NFT_DATA_VERDICT only.
        public var keyType: UInt32
        public var keyLength: UInt32
        public var dataType: UInt32 = 0
        public var dataLength: UInt32 = 0
        /// NFT_OBJECT_*.
        public var objectType: UInt32 = 0
        public var timeoutMilliseconds: UInt64 = 0
        public var collectionMilliseconds: UInt32 = 0
        /// NFT_SET_POL_*.
        public var policy: UInt32 = 0
        /// 0: without a limit.
        public var size: UInt32 = 0
        /// Of the parts of a key, where it has several.
        public var fieldLengths: [UInt8] = []
        public var userData: [UInt8] = []
        /// What each new element gets.
        public var expressions: [Expression] = []
        public var elements: [Element] = []

        public init(name: KernelString, flags: UInt32, keyType: UInt32, keyLength: UInt32) {
            self.name = name
            self.flags = flags
            self.keyType = keyType
            self.keyLength = keyLength
        }
    }

    /// `struct nft_set_ext`: an element of a set.
    public struct Element: Sendable, Hashable {
        /// nil: it stands for all that no other one does.
        public var key: [UInt8]?
        /// Where a range of keys of several parts ends.
        public var keyEnd: [UInt8]?
        /// What a map has for it: NFTA_DATA_VALUE or NFTA_DATA_VERDICT.
        public var data: Attribute?
        /// NFT_SET_ELEM_*.
        public var flags: UInt32 = 0
        /// nil: that of the set. 0: it does not end.
        public var timeoutMilliseconds: UInt64?
        /// What remains of it.
        public var expirationMilliseconds: UInt64?
        public var userData: [UInt8] = []
        public var expressions: [Expression] = []
        /// Name of the stateful object that a map of those has for it.
        public var object: KernelString?

        public init() {}
    }

    /// `struct nft_object`: a counter, a quota, a limit or the like, with a name.
    public struct StatefulObject: Sendable, Hashable {
        public var name: KernelString
        /// NFT_OBJECT_*.
        public var type: UInt32
        public var attributes: [Attribute]
        public var userData: [UInt8] = []

        public init(name: KernelString, type: UInt32, attributes: [Attribute]) {
            self.name = name
            self.type = type
            self.attributes = attributes
        }
    }
}

extension PacketFilter.Attribute {
    /// A number in network order.
    public init(_ number: UInt16, value: some FixedWidthInteger) {
        self.init(
            number, (0..<value.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) })
    }

    /// A string, with the zero byte at its end.
    public init(_ number: UInt16, text: KernelString) { self.init(number, text.bytes + [0]) }
}
