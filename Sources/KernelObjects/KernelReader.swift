import GuestMemory
import KernelTypes

/// Reads fields of kernel structures.
public struct KernelReader {
    public let memory: VirtualMemory
    public let symbols: SymbolTable

    public init(memory: VirtualMemory, symbols: SymbolTable) {
        self.memory = memory
        self.symbols = symbols
    }

    /// The value of an integer, pointer, enum or bit-field member, zero-extended.
    /// - Throws: what the memory throws; `damaged` for a field that is no integer.
    public func value(_ field: Field, of object: VirtualAddress) throws(MemoryFault) -> UInt64 {
        let address = object + field.offset
        if let bits = field.bits {
            guard field.size <= 8, bits.count < 64 else { throw MemoryFault(.damaged("bit field"), at: address) }
            var word: UInt64 = 0
            for (index, byte) in try memory.bytes(at: address, count: field.size).enumerated() {
                word |= UInt64(byte) << UInt64(index * 8)
            }
            return (word >> UInt64(bits.first)) & ((1 << UInt64(bits.count)) - 1)
        }
        return try memory.unsigned(at: address, size: field.size)
    }

    /// The value of a signed member, sign-extended.
    public func signed(_ field: Field, of object: VirtualAddress) throws(MemoryFault) -> Int64 {
        let value = try value(field, of: object)
        return switch field.size {
        case 4: Int64(Int32(truncatingIfNeeded: value))
        case 2: Int64(Int16(truncatingIfNeeded: value))
        case 1: Int64(Int8(truncatingIfNeeded: value))
        default: Int64(bitPattern: value)
        }
    }

    /// The value of an `int` member.
    public func int32(_ field: Field, of object: VirtualAddress) throws(MemoryFault) -> Int32 {
        Int32(truncatingIfNeeded: try value(field, of: object))
    }

    public func uint32(_ field: Field, of object: VirtualAddress) throws(MemoryFault) -> UInt32 {
        UInt32(truncatingIfNeeded: try value(field, of: object))
    }

    public func pointer(_ field: Field, of object: VirtualAddress) throws(MemoryFault) -> VirtualAddress {
        VirtualAddress(try value(field, of: object))
    }

    /// The raw bytes of a member, `count` of them or all.
    public func bytes(_ field: Field, of object: VirtualAddress) throws(MemoryFault) -> [UInt8] {
        try memory.bytes(at: object + field.offset, count: field.size)
    }

    /// A character array, up to its zero byte.
    public func text(_ field: Field, of object: VirtualAddress) throws(MemoryFault) -> [UInt8] {
        Array(try bytes(field, of: object).prefix { $0 != 0 })
    }

    /// The structure that `member`, at `address`, is embedded in (`container_of`).
    public func container(of address: VirtualAddress, _ member: Field) -> VirtualAddress { address - member.offset }

    /// The value of a kernel variable.
    public func variable(_ name: String) throws(MemoryFault) -> UInt64? {
        guard let address = symbols.addresses[name] else { return nil }
        return try memory.unsigned(at: address, size: 8)
    }
}
