import GuestMemory
import KernelTypes
import SyntheticMemory
import Testing

@Suite struct VMCoreInfoTests {
    static let text = """
        OSRELEASE=6.1.0-56-amd64
        PAGESIZE=4096
        SYMBOL(init_uts_ns)=ffffffff82000000
        SYMBOL(swapper_pg_dir)=ffffffff82610000
        NUMBER(phys_base)=-16777216
        NUMBER(pgtable_l5_enabled)=1

        """

    @Test func readsNumbersAndSymbols() throws {
        let info = VMCoreInfo(text: Array(Self.text.utf8) + [0] + Array("NUMBER(after)=1\n".utf8))
        #expect(info.release == "6.1.0-56-amd64")
        #expect(info.symbol("init_uts_ns") == VirtualAddress(0xffff_ffff_8200_0000))
        #expect(info.number("after") == nil)
        let tables = try info.pageTables()
        #expect(tables.levels == 5)
        #expect(tables.root == PhysicalAddress(0x161_0000))
    }

    @Test func everyTruncationIsSurvived() {
        let bytes = Array(Self.text.utf8)
        for length in 0..<bytes.count { _ = try? VMCoreInfo(text: bytes[..<length]).pageTables() }
    }

    /// A leftover of an earlier kernel whose page tables are gone must not be taken for the one that runs.
    @Test func aLeftoverIsNotTaken() {
        let memory = SyntheticMemory()
        memory.write(Array(Self.text.utf8), at: PhysicalAddress(0x5000))
        #expect(throws: KernelError.noVMCoreInfo) { try VMCoreInfo.find(in: memory) }
    }
}
