import KernelTypes
import SyntheticMemory
import Testing

@Suite struct TypeTableTests {
    /// struct outer { u32 a; struct { u64 b; }; struct inner { u16 x; u8 y[6]; } in; u32 low:3, high:5; }
    static func section() -> [UInt8] {
        var types = SyntheticTypes()
        let u8 = types.integer("u8", size: 1)
        let u16 = types.integer("u16", size: 2)
        let u32 = types.integer("u32", size: 4)
        let u64 = types.integer("u64", size: 8)
        let word = types.typedef("word_t", of: u64)
        let list = types.array(of: u8, count: 6)
        let anonymous = types.structure("", size: 8, [("b", word, 0)])
        let inner = types.structure("inner", size: 8, [("x", u16, 0), ("y", list, 2)])
        _ = types.structure(
            "outer", size: 32, [("a", u32, 0), ("", anonymous, 8), ("in", inner, 16), ("next", types.pointer(to: inner), 24)])
        _ = types.bitFields("flags", size: 4, [("low", u32, 0, 3), ("high", u32, 11, 5)])
        return types.bytes
    }

    @Test func findsFieldsAsCDoes() throws {
        let table = try TypeTable(btf: Self.section())
        let outer = try table.structure("outer")
        #expect(outer.size == 32)
        #expect(try outer.field("a") == Field(offset: 0, size: 4))
        #expect(try outer.field("b") == Field(offset: 8, size: 8))
        #expect(try outer.field("in.x") == Field(offset: 16, size: 2))
        #expect(try outer.field("in.y") == Field(offset: 18, size: 6, count: 6))
        #expect(try outer.field("in.y").element(2) == Field(offset: 20, size: 1))
        #expect(try outer.field("next") == Field(offset: 24, size: 8))
        #expect(try outer.field(anyOf: "gone", "a").offset == 0)
        #expect(outer.optional("gone") == nil)
    }

    @Test func findsStructuresBehindTypedefs() throws {
        var types = SyntheticTypes()
        let u32 = types.integer("u32", size: 4)
        _ = types.typedef("node", of: u32)
        let anonymous = types.structure("", size: 8, [("a", u32, 0), ("b", u32, 4)])
        _ = types.typedef("node", of: types.typedef("other", of: anonymous))
        let table = try TypeTable(btf: types.bytes)
        #expect(try table.structure(typedef: "node").field("b").offset == 4)
        #expect(throws: KernelError.self) { try table.structure(typedef: "u32") }
    }

    @Test func placesBitFields() throws {
        let flags = try TypeTable(btf: Self.section()).structure("flags")
        #expect(try flags.field("low") == Field(offset: 0, size: 1, bits: .init(first: 0, count: 3)))
        #expect(try flags.field("high") == Field(offset: 1, size: 1, bits: .init(first: 3, count: 5)))
    }

    /// kernel: struct inner { u32 x; }; module: struct outer { struct inner in; u32 y; u16 z; }
    @Test func aModuleCountsOnFromTheKernel() throws {
        var kernel = SyntheticTypes()
        let u32 = kernel.integer("u32", size: 4)
        let inner = kernel.structure("inner", size: 4, [("x", u32, 0)])
        var module = SyntheticTypes(behind: kernel)
        let u16 = module.integer("u16", size: 2)
        _ = module.structure("outer", size: 12, [("in", inner, 0), ("y", u32, 4), ("z", u16, 8)])
        let table = try TypeTable(btf: module.bytes, base: TypeTable(btf: kernel.bytes))
        let outer = try table.structure("outer")
        #expect(try outer.field("in.x") == Field(offset: 0, size: 4))
        #expect(try outer.field("y") == Field(offset: 4, size: 4))
        #expect(try outer.field("z") == Field(offset: 8, size: 2))
        #expect(try table.structure("inner").size == 4)
        #expect(table.has("inner") && table.has("outer") && !table.has("other"))
    }

    @Test func saysWhatIsMissing() throws {
        let table = try TypeTable(btf: Self.section())
        #expect(throws: KernelError.noType("gone")) { try table.structure("gone") }
        #expect(throws: KernelError.noField(type: "outer", field: "gone")) { try table.structure("outer").field("gone") }
    }

    @Test func everyTruncationIsAnError() {
        let section = Self.section()
        for length in 0..<section.count {
            #expect(throws: KernelError.self) { try TypeTable(btf: Array(section[..<length])) }
        }
    }

    /// Whatever a bit flip makes of the section, looking a field up ends, with a field or an error.
    @Test func everyBitFlipIsSurvived() {
        let section = Self.section()
        for bit in 0..<section.count * 8 {
            var damaged = section
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            guard let table = try? TypeTable(btf: damaged) else { continue }
            for name in ["outer", "inner", "flags"] {
                guard let structure = try? table.structure(name) else { continue }
                _ = structure.size
                for field in ["a", "b", "in.x", "in.y", "high"] { _ = structure.optional(field) }
            }
        }
    }
}
