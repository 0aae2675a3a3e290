import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// Functions that look at packets on their way (`struct nf_hook_entry`, include/linux/netfilter.h) and have nothing to say of themselves.
enum PacketFilterHooks {
    /// Of connection tracking, which comes with the rules that ask for it (nf_ct_netns_get of net/netfilter/nf_conntrack_proto.c).
    static let ofConnections: Set<String> = [
        "ipv4_conntrack_in", "ipv4_conntrack_local", "ipv4_confirm", "ipv6_conntrack_in", "ipv6_conntrack_local",
        "ipv6_confirm",
        "nf_confirm", "nf_ct_bridge_in", "nf_ct_bridge_post", "nf_ct_bridge_pre", "ipv4_conntrack_defrag", "ipv6_defrag",
    ]
    /// Of address translation, which comes with the chains that have it (net/netfilter/nf_nat_proto.c). `nf_nat_ipv4_in` is the older name of pre_routing.
    static let ofTranslation: Set<String> = [
        "nf_nat_ipv4_pre_routing", "nf_nat_ipv4_in", "nf_nat_ipv4_out", "nf_nat_ipv4_local_fn", "nf_nat_ipv4_local_in",
        "nf_nat_ipv4_fn", "nf_nat_ipv6_in", "nf_nat_ipv6_out", "nf_nat_ipv6_local_fn", "nf_nat_ipv6_local_in", "nf_nat_ipv6_fn",
    ]
    /// Of the security module, which does so in each new namespace by itself: the functions of apparmor_nf_ops, selinux_nf_ops and smack_nf_ops (security/), which go by the name
    /// with `ip` in 6.1 and by the others in 5.10. And what a hook that was taken away leaves behind (net/netfilter/core.c).
    static let ofItself: Set<String> = [
        "apparmor_ip_postroute", "apparmor_ipv4_postroute", "apparmor_ipv6_postroute",
        "selinux_ip_postroute", "selinux_ip_forward", "selinux_ip_output",
        "selinux_ipv4_postroute", "selinux_ipv4_forward", "selinux_ipv4_output",
        "selinux_ipv6_postroute", "selinux_ipv6_forward", "selinux_ipv6_output",
        "smack_ip_output", "smack_ipv4_output", "smack_ipv6_output", "accept_all",
    ]
    static let names = ofConnections.union(ofTranslation).union(ofItself)
}

extension GroupBuilder {
    /// `hook` and `priv` of a `struct nf_hook_entry`.
    private struct Hook: Hashable {
        var function: VirtualAddress
        var data: VirtualAddress
    }

    /// Reads what of nf_tables filters packets in a namespace: all of it, or nothing and why.
    func readPacketFilter(of namespace: VirtualAddress, _ layout: NetworkNamespaceLayout, into result: inout NetworkNamespace) {
        do {
            let own = Set(PacketFilterHooks.ofItself.compactMap { kernel.manifest.symbols.addresses[$0] })
            let hooks = try self.hooks(of: namespace, layout).filter { !own.contains($0.function) }
            guard try hasTypes() else {
                guard let hook = hooks.min(by: { $0.function < $1.function }) else {
                    if try hasTables(namespace) { throw PacketFilterProblem("the kernel has no types of the module nf_tables") }
                    return
                }
                let name = try kernel.netfilterSymbols().names[hook.function] ?? "\(hook.function)"
                throw PacketFilterProblem(Self.words(for: name))
            }
            let reader = try PacketFilterReader(kernel, namespace: namespace, ticksPerSecond: files.ticksPerSecond)
            let filter = try reader.read(namespace)
            try account(for: hooks, reader, filter)
            result.packetFilter = filter
            if !filter.isEmpty, reader.usesConnections {
                result.trackedConnections = try trackedConnections(in: namespace, reader)
            }
        } catch let problem as PacketFilterProblem {
            result.lostPacketFilter = problem.description
        } catch let fault as MemoryFault {
            result.lostPacketFilter = "\(fault)"
        } catch {
            result.lostPacketFilter = "\(error)"
        }
    }

    private func hasTypes() throws -> Bool {
        try kernel.moduleTypes("nf_tables") != nil || kernel.manifest.types.has("nft_table")
    }

    /// Whether there are some that are not read; one that sleeps, or has no base chain, has no hooks. Until 5.12 they were on a list of the namespace's own.
    private func hasTables(_ namespace: VirtualAddress) throws -> Bool {
        guard let field = try? kernel.manifest.types.structure("net").optional("nft.tables") else { return false }
        let head = namespace + field.offset
        let first = try kernel.reader.memory.pointer(at: head)
        return !first.isNull && first != head
    }

    private func hooks(of namespace: VirtualAddress, _ layout: NetworkNamespaceLayout) throws(MemoryFault) -> Set<Hook> {
        var found: Set<Hook> = []
        for field in layout.packetFilters {
            for index in 0..<field.count {
                let hooks = try kernel.reader.pointer(field.element(index), of: namespace)
                if hooks.isNull { continue }
                let count = Int(try kernel.reader.value(layout.hookCount, of: hooks))
                // MAX_HOOK_COUNT of net/netfilter/core.c
                guard count <= 1024 else { throw MemoryFault(.damaged("\(count) packet filters"), at: hooks) }
                for index in 0..<count {
                    // Two pointers are all that there is of it.
                    let entry = hooks + layout.firstHook.offset + index * layout.hookSize
                    found.insert(
                        Hook(
                            function: try kernel.reader.memory.pointer(at: entry),
                            data: try kernel.reader.memory.pointer(at: entry + 8)))
                }
            }
        }
        return found
    }

    /// Each hook has to be one of a chain that was read, or of what comes with such chains.
    private func account(for hooks: Set<Hook>, _ reader: PacketFilterReader, _ filter: PacketFilter) throws {
        for hook in hooks.sorted(by: { ($0.function, $0.data) < ($1.function, $1.data) })
        where !reader.baseChains.contains(hook.data) {
            guard let name = reader.symbols.names[hook.function] else {
                throw PacketFilterProblem("a hook at \(hook.function)")
            }
            if PacketFilterHooks.ofItself.contains(name) { continue }
            let comes = PacketFilterHooks.ofConnections.contains(name) || PacketFilterHooks.ofTranslation.contains(name)
            guard comes, !filter.isEmpty else { throw PacketFilterProblem(Self.words(for: name)) }
        }
    }

    private static func words(for function: String) -> String {
        let isLegacy = ["ipt_", "ip6t_", "iptable_", "ip6table_", "arpt_", "arptable_", "ebt_"].contains {
            function.hasPrefix($0)
        }
        return isLegacy ? "rules of iptables-legacy (\(function))" : "hook \(function)"
    }

    /// `struct nf_conntrack_net.count`.
    private func trackedConnections(in namespace: VirtualAddress, _ reader: PacketFilterReader) throws -> Int {
        guard let part = try reader.pointer(of: "nf_conntrack_net_id", in: namespace) else { return 0 }
        let structure = try reader.structure(anyOf: ["nf_conntrack_net"], in: "nf_conntrack", for: "connection tracking")
        return Int(try kernel.reader.uint32(structure.field("count"), of: part))
    }
}
