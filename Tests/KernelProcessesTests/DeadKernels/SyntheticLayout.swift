import KernelObjects
import KernelTypes
import SyntheticMemory

@testable import KernelProcesses

/// A kernel's structures with all that a walk asks for, wherever it lies.
enum SyntheticLayout {
    static let kernel: Result<(types: TypeTable, layout: KernelLayout), any Error> = Result { try build() }

    private static func build() throws -> (types: TypeTable, layout: KernelLayout) {
        var structures = SyntheticStructures()
        for path in ["sp_offset", "bp_offset", "sp_reg", "bp_reg", "type", "signal"] { structures.add("orc_entry", path) }
        structures.add("inactive_task_frame", "bp")
        for path in ["list", "arch.num_orcs", "arch.orc_unwind_ip", "arch.orc_unwind"] { structures.add("module", path) }
        structures.add("file", "f_task_work")
        structures.add("task_struct", "task_works")
        for (index, name) in ["PG_uptodate", "PG_dirty", "PG_head", "PG_slab", "PG_writeback"].enumerated() {
            structures.add(enumerator: name, UInt32(index))
        }
        for part in 0..<partCount {
            while let error = missing(try TypeTable(btf: structures.types), part) { try add(error, to: &structures) }
        }
        while true {
            let types = try TypeTable(btf: structures.types)
            do { return (types, try KernelLayout(types)) } catch { try add(error, to: &structures) }
        }
    }

    private static let partCount = 8

    /// What one of the larger layouts misses first: not all of a kernel is to be looked through anew for each of their fields.
    private static func missing(_ types: TypeTable, _ part: Int) -> KernelError? {
        do {
            switch part {
            case 0: _ = try TaskLayout(types)
            case 1: _ = try SignalLayout(types)
            case 2: _ = try RegisterLayout(types)
            case 3: _ = try TimerLayout(types)
            case 4: _ = try AddressSpaceLayout(types)
            case 5: _ = try SocketLayout(types)
            case 6: _ = try TerminalLayout(types)
            default: _ = try FileLayout(types)
            }
            return nil
        } catch {
            return error
        }
    }

    private static func add(_ error: KernelError, to structures: inout SyntheticStructures) throws(KernelError) {
        switch error {
        case .noType(let name): structures.add(name)
        case .noField(let type, let field):
            // The first of the names that it has had in different kernels. What still misses it then asks for something else.
            let path = field.split(separator: " ").first.map(String.init) ?? field
            guard structures.add(type, path) else { throw error }
        default: throw error
        }
    }
}
