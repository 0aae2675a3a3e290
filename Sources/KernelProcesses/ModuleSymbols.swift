import GuestMemory
import KernelObjects
import KernelTypes

/// Names of functions and variables of modules, by which it is known what a pointer leads to: `struct mod_kallsyms` (include/linux/module.h), the module's own ELF symbols.
struct ModuleSymbols {
    private(set) var names: [VirtualAddress: String] = [:]
    private(set) var addresses: [String: VirtualAddress] = [:]

    /// The largest of Debian's modules have some ten thousand.
    private static let symbolLimit: UInt64 = 1 << 16
    private static let nameLimit = 128
    /// `Elf64_Sym`: `st_name`, and 8 bytes behind it `st_value`.
    private static let symbolSize = 24
    private static let moduleLimit = 8192

    /// - Parameter isWanted: whether a module's symbols are read, by its name. The first of two that have the same name stands for both.
    init(of kernel: DeadKernel, _ isWanted: (String) -> Bool) throws(MemoryFault) {
        guard let head = kernel.manifest.symbols.addresses["modules"],
            let module = try? kernel.manifest.types.structure("module"), let link = module.optional("list"),
            let moduleName = module.optional("name"), let table = module.optional("kallsyms"),
            let parts = try? kernel.manifest.types.structure("mod_kallsyms"), let symbols = parts.optional("symtab"),
            let count = parts.optional("num_symtab"), let strings = parts.optional("strtab")
        else { return }
        let reader = kernel.reader
        var modules: [VirtualAddress] = []
        if let fault = reader.forEach(onList: head, link: link, limit: Self.moduleLimit, { modules.append($0) }) { throw fault }
        for module in modules {
            guard isWanted(String(decoding: try reader.text(moduleName, of: module), as: UTF8.self)) else { continue }
            let known = try reader.pointer(table, of: module)
            // A module that is on its way in or out has none.
            if known.isNull { continue }
            let number = try reader.value(count, of: known)
            guard number <= Self.symbolLimit else { throw MemoryFault(.damaged("\(number) symbols of a module"), at: module) }
            let first = try reader.pointer(symbols, of: known)
            let text = try reader.pointer(strings, of: known)
            for index in 0..<Int(number) {
                let symbol = first + index * Self.symbolSize
                let address = try reader.memory.pointer(at: symbol + 8)
                guard address.isKernel else { continue }
                let offset = try reader.memory.unsigned(at: symbol, size: 4)
                let name = try reader.memory.string(at: text + Int(offset), limit: Self.nameLimit)
                if name.isEmpty { continue }
                if names[address] == nil { names[address] = name }
                if addresses[name] == nil { addresses[name] = address }
            }
        }
    }
}

extension DeadKernel {
    /// What of the modules filters packets, and of the kernel itself where it was built with them.
    func netfilterSymbols() throws(MemoryFault) -> ModuleSymbols {
        if let known = knownNetfilterSymbols { return known }
        var found = try ModuleSymbols(of: self) { name in Self.netfilterModules.contains { name.hasPrefix($0) } }
        found.add(manifest.symbols.addresses.filter { Self.netfilterSymbolNames.contains($0.key) })
        knownNetfilterSymbols = found
        return found
    }

    /// Beginnings of names: nf_tables and nft_*, nf_conntrack and nf_nat, ip_tables, iptable_*, ip_vs, ebtables, arp_tables, x_tables.
    private static let netfilterModules = ["nf", "ip", "eb", "arp", "x_tables", "xt_", "br"]

    static let netfilterSymbolNames: Set<String> = PacketFilterHooks.names.union(FilterExpressionForm.operationNames).union(
        FilterSetKind.operations.keys
    ).union(["nf_tables_net_id", "nf_conntrack_net_id", "nft_match_eval", "nft_match_large_eval", "nft_target_eval_xt"])
}

extension ModuleSymbols {
    fileprivate mutating func add(_ symbols: [String: VirtualAddress]) {
        for (name, address) in symbols {
            names[address] = name
            addresses[name] = address
        }
    }
}
