import GuestMemory
import KernelTypes
import SyntheticMemory
import Testing

@Suite struct SymbolTableTests {
    static let wanted: Set<String> = ["cpu_variable", "function_0", "function_598", "function_599", "absent"]

    static func table(_ symbols: SyntheticSymbols, in memory: SyntheticMemory) throws -> SymbolTable {
        try SymbolTable(
            names: wanted, info: VMCoreInfo(text: Array(symbols.information.utf8)),
            memory: VirtualMemory(source: memory, tables: memory.tables))
    }

    static func expectFunctions(_ table: SymbolTable) {
        #expect(table.addresses["_stext"] == SyntheticSymbols.text)
        #expect(table.addresses["function_0"] == SyntheticSymbols.text + 16)
        #expect(table.addresses["function_598"] == SyntheticSymbols.text + 599 * 16)
        #expect(table.addresses["absent"] == nil)
    }

    /// Odd and even numbers of markers, the last of which leads to one name, some or as many as it can.
    @Test(arguments: [255, 599, 600, 766, 767]) func isFoundInTheImage(functions: Int) throws {
        let symbols = SyntheticSymbols(.searched, functions: functions)
        let table = try Self.table(symbols, in: symbols.memory())
        #expect(table.addresses["_stext"] == SyntheticSymbols.text)
        #expect(table.addresses["function_0"] == SyntheticSymbols.text + 16)
        #expect(table.addresses["cpu_variable"] == VirtualAddress(SyntheticSymbols.percpu))
        #expect(table.addresses["function_599"] == (functions > 599 ? SyntheticSymbols.text + 600 * 16 : nil))
    }

    /// Kernels have digits in a row elsewhere too.
    @Test func otherDigitsAreNotTaken() throws {
        let symbols = SyntheticSymbols(.searched, functions: 599)
        let memory = symbols.memory()
        let digits: [UInt8] = Array("0123456789".utf8).flatMap { [$0, UInt8(0)] } + [0, 0, 0, 0]
        let words = stride(from: 0, to: digits.count, by: 8).map { at in
            digits[at..<at + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        memory.place(words, at: VirtualAddress(0xffff_ffff_8110_0ff8))
        Self.expectFunctions(try Self.table(symbols, in: memory))
    }

    @Test func isRefusedWhereItIsNot() {
        let symbols = SyntheticSymbols(.searched, functions: 599)
        let memory = symbols.memory { bytes in bytes = [] }
        #expect(
            throws: KernelError.symbols("VMCOREINFO does not say where it is, and it is not found in the kernel's image")
        ) { try Self.table(symbols, in: memory) }
    }

    @Test func offsetsCanCountFromThemselves() throws {
        let symbols = SyntheticSymbols(.placeRelative, functions: 599)
        let table = try Self.table(symbols, in: symbols.memory())
        Self.expectFunctions(table)
        #expect(table.addresses["cpu_variable"] == SyntheticSymbols.text + 0x50_0000)
    }

    /// Whatever stands there, `_stext` is where VMCOREINFO says, or the kernel is refused.
    @Test(arguments: [SyntheticSymbols.Form.searched, .placeRelative]) func everyDamageIsSurvived(form: SyntheticSymbols.Form) {
        let symbols = SyntheticSymbols(form, functions: 300)
        for word in stride(from: 0, to: symbols.bytes.count - 4, by: 20) {
            for value: UInt8 in [0, 0xff] {
                let memory = symbols.memory { bytes in for byte in word..<word + 4 { bytes[byte] = value } }
                do {
                    let table = try Self.table(symbols, in: memory)
                    #expect(table.addresses["_stext"] == SyntheticSymbols.text)
                } catch {
                    #expect(error is KernelError)
                }
            }
        }
    }
}
