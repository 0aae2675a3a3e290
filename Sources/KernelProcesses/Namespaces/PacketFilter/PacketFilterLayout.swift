import KernelTypes

/// What nf_tables keeps for a network namespace (include/net/netfilter/nf_tables.h): types of the module nf_tables, where it is one.
struct PacketFilterLayout: Sendable {
    /// `struct nftables_pernet`, one of the namespace's `net_generic`, since 5.12; before, a part of `struct net`.
    let tablesOfModule, tablesOfNamespace: Field?
    let generic, genericPointers: Field
    /// `net.nft.gencursor`: which generation of everything is the current one.
    let generation: Field
    let table: Table
    let chain: Chain
    let rule: Rule
    let expression: Expression
    let set: Set
    let object: Object

    struct Table: Sendable {
        let link, chains, sets, objects, flowtables, family, flags, generations, name: Field
        let userData: UserData
    }

    /// `udlen` and `udata`.
    struct UserData: Sendable {
        let length, bytes: Field
    }

    struct Chain: Sendable {
        let link, rules, table, flags, generations, name: Field
        let userData: UserData?
        /// Where the chain lies in a `struct nft_base_chain`.
        let inBase: Field
        let hook, priority, policy, type, typeName, hooks, statistics: Field
        let statisticsBytes, statisticsPackets: Field
        let hookLink, deviceName: Field
        /// A device, or since 6.16 the name of one, or the beginning of several ones' names.
        let hookDevice, hookName, hookNameLength: Field?
    }

    struct Rule: Sendable {
        let link, generations, length, hasUserData: Field
        /// Where the expressions begin.
        let data: Int
    }

    struct Expression: Sendable {
        let operations: Field
        let data: Int
        let size, type, evaluate, custom: Field
        let typeName: Field
        let verdictCode, verdictChain: Field
    }

    struct Set: Sendable {
        let link, table, name, keyType, dataType, objectType, size, fieldLengths, fieldCount: Field
        let timeout, collection, policy, flags, generations, keyLength, dataLength: Field
        let userData: UserData
        let expressionCount, expressions, catchAll: Field
        let operations: Field
        let data: Int
        let catchAllLink, catchAllElement: Field
        let elementOffset: Field
        /// How large the set is to its users, where that is another number than it is to itself.
        let userSize: Field?
    }

    struct Object: Sendable {
        let link, name, table, generations, operations: Field
        let userData: UserData?
        let data: Int
        let type, number: Field
    }

    /// - Parameter types: of nf_tables, with the kernel's own.
    init(_ types: TypeTable) throws(KernelError) {
        let net = try types.structure("net")
        tablesOfModule = (try? types.structure("nftables_pernet"))?.optional("tables")
        tablesOfNamespace = net.optional("nft.tables")
        generic = try net.field("gen")
        genericPointers = try types.structure("net_generic").field("ptr")
        generation = try net.field("nft.gencursor")
        table = try Table(types.structure("nft_table"))
        chain = try Chain(types)
        rule = try Rule(types.structure("nft_rule"))
        expression = try Expression(types)
        set = try Set(types)
        object = try Object(types)
    }
}

extension PacketFilterLayout.Table {
    fileprivate init(_ table: Structure) throws(KernelError) {
        link = try table.field("list")
        chains = try table.field("chains")
        sets = try table.field("sets")
        objects = try table.field("objects")
        flowtables = try table.field("flowtables")
        family = try table.field("family")
        flags = try table.field("flags")
        generations = try table.field("genmask")
        name = try table.field("name")
        userData = try PacketFilterLayout.UserData(of: table)
    }
}

extension PacketFilterLayout.UserData {
    fileprivate init(of structure: Structure) throws(KernelError) {
        length = try structure.field("udlen")
        bytes = try structure.field("udata")
    }
}

extension PacketFilterLayout.Chain {
    fileprivate init(_ types: TypeTable) throws(KernelError) {
        let chain = try types.structure("nft_chain")
        link = try chain.field("list")
        rules = try chain.field("rules")
        table = try chain.field("table")
        flags = try chain.field("flags")
        generations = try chain.field("genmask")
        name = try chain.field("name")
        userData = try? PacketFilterLayout.UserData(of: chain)
        let base = try types.structure("nft_base_chain")
        inBase = try base.field("chain")
        hook = try base.field("ops.hooknum")
        priority = try base.field("ops.priority")
        policy = try base.field("policy")
        type = try base.field("type")
        typeName = try types.structure("nft_chain_type").field("name")
        hooks = try base.field("hook_list")
        statistics = try base.field("stats")
        let counters = try types.structure("nft_stats")
        statisticsBytes = try counters.field("bytes")
        statisticsPackets = try counters.field("pkts")
        let hook = try types.structure("nft_hook")
        hookLink = try hook.field("list")
        hookDevice = hook.optional("ops.dev")
        hookName = hook.optional("ifname")
        hookNameLength = hook.optional("ifnamelen")
        deviceName = try types.structure("net_device").field("name")
    }
}

extension PacketFilterLayout.Rule {
    fileprivate init(_ rule: Structure) throws(KernelError) {
        link = try rule.field("list")
        generations = try rule.field("genmask")
        length = try rule.field("dlen")
        hasUserData = try rule.field("udata")
        data = try rule.field("data").offset
    }
}

extension PacketFilterLayout.Expression {
    fileprivate init(_ types: TypeTable) throws(KernelError) {
        let expression = try types.structure("nft_expr")
        operations = try expression.field("ops")
        data = try expression.field("data").offset
        let operations = try types.structure("nft_expr_ops")
        size = try operations.field("size")
        type = try operations.field("type")
        evaluate = try operations.field("eval")
        custom = try operations.field("data")
        typeName = try types.structure("nft_expr_type").field("name")
        let verdict = try types.structure("nft_verdict")
        verdictCode = try verdict.field("code")
        verdictChain = try verdict.field("chain")
    }
}

extension PacketFilterLayout.Set {
    fileprivate init(_ types: TypeTable) throws(KernelError) {
        let set = try types.structure("nft_set")
        link = try set.field("list")
        table = try set.field("table")
        name = try set.field("name")
        keyType = try set.field("ktype")
        dataType = try set.field("dtype")
        objectType = try set.field("objtype")
        size = try set.field("size")
        fieldLengths = try set.field("field_len")
        fieldCount = try set.field("field_count")
        timeout = try set.field("timeout")
        collection = try set.field("gc_int")
        policy = try set.field("policy")
        flags = try set.field("flags")
        generations = try set.field("genmask")
        keyLength = try set.field("klen")
        dataLength = try set.field("dlen")
        userData = try PacketFilterLayout.UserData(of: set)
        expressionCount = try set.field("num_exprs")
        expressions = try set.field("exprs")
        catchAll = try set.field("catchall_list")
        operations = try set.field("ops")
        data = try set.field("data").offset
        let other = try types.structure("nft_set_elem_catchall")
        catchAllLink = try other.field("list")
        catchAllElement = try other.field("elem")
        let operations = try types.structure("nft_set_ops")
        elementOffset = try operations.field("elemsize")
        userSize = operations.optional("usize")
    }
}

extension PacketFilterLayout.Object {
    fileprivate init(_ types: TypeTable) throws(KernelError) {
        let object = try types.structure("nft_object")
        link = try object.field("list")
        name = try object.field("key.name")
        table = try object.field("key.table")
        generations = try object.field("genmask")
        operations = try object.field("ops")
        userData = try? PacketFilterLayout.UserData(of: object)
        data = try object.field("data").offset
        type = try types.structure("nft_object_ops").field("type")
        number = try types.structure("nft_object_type").field("type")
    }
}
