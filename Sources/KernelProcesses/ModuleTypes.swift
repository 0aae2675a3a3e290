import GuestMemory
import KernelObjects
import KernelTypes

extension DeadKernel {
    /// Debian 12 has some 4,000 modules, of which a guest loads a hundred.
    private static let moduleLimit = 8192
    /// The largest of Debian's, amdgpu, has 3 MB.
    private static let moduleTypesLimit: UInt64 = 16 << 20

    /// The types of a module that the kernel had loaded, which refer to the kernel's own. The kernel keeps them with CONFIG_DEBUG_INFO_BTF_MODULES,
    /// since 5.11 (kernel/bpf/btf.c, commit 36e68442d1af).
    /// - Returns: nil when there is no such module, or the kernel has no types of it.
    func moduleTypes(_ name: String) throws(MemoryFault) -> TypeTable? {
        if let known = knownModuleTypes[name] { return known }
        guard let head = manifest.symbols.addresses["btf_modules"],
            let entry = try? manifest.types.structure("btf_module"), let link = entry.optional("list"),
            let module = entry.optional("module"), let section = entry.optional("btf"),
            let moduleName = (try? manifest.types.structure("module"))?.optional("name"),
            let types = try? manifest.types.structure("btf"), let data = types.optional("data"),
            let size = types.optional("data_size")
        else { return nil }
        var entries: [VirtualAddress] = []
        if let fault = reader.forEach(onList: head, link: link, limit: Self.moduleLimit, { entries.append($0) }) { throw fault }
        for entry in entries {
            guard try reader.text(moduleName, of: reader.pointer(module, of: entry)) == Array(name.utf8) else { continue }
            let btf = try reader.pointer(section, of: entry)
            let count = try reader.value(size, of: btf)
            guard count <= Self.moduleTypesLimit else {
                throw MemoryFault(.damaged("\(count) bytes of types of \(name)"), at: btf)
            }
            let bytes = try reader.memory.bytes(at: reader.pointer(data, of: btf), count: Int(count))
            let table: TypeTable
            do { table = try TypeTable(btf: bytes, base: manifest.types) } catch {
                throw MemoryFault(.damaged("types of module \(name): \(error)"), at: btf)
            }
            knownModuleTypes[name] = table
            return table
        }
        return nil
    }

    /// nil when the module is not loaded, or not understood.
    var overlayInodes: OverlayInodeLayout? {
        if manifest.symbols.addresses["btf_modules"] != nil {
            return (try? moduleTypes("overlay")).flatMap(OverlayInodeLayout.init)
        }
        return (try? manifest.types.structure("inode")).map { OverlayInodeLayout(ofLinux5_10: $0.size) }
    }
}
