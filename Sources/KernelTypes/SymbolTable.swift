import GuestMemory

/// Symbols of the kernel, decoded from its own compressed table (kernel/kallsyms.c, scripts/kallsyms.c).
///
/// Only the names asked for are kept: a kernel has some 200,000 symbols and the walk needs a few dozen.
public struct SymbolTable: Hashable, Sendable {
    public private(set) var addresses: [String: VirtualAddress] = [:]
    /// Where the symbol that follows each begins, for what is to be recognised by an address inside it.
    private var ends: [String: VirtualAddress] = [:]

    /// - Parameter ends: where what follows begins, of those of which it is known.
    public init(addresses: [String: VirtualAddress], ends: [String: VirtualAddress] = [:]) {
        self.addresses = addresses
        self.ends = ends
    }

    /// Whether `address` lies inside what `name` stands for.
    public func contains(_ address: VirtualAddress, in name: String) -> Bool {
        guard let start = addresses[name], let end = ends[name] else { return false }
        return start <= address && address < end
    }

    /// The address of `name`.
    public func address(of name: String) throws(KernelError) -> VirtualAddress {
        guard let address = addresses[name] else { throw .noSymbol(name) }
        return address
    }

    /// Decodes the table of the kernel behind `memory`.
    public init(names wanted: Set<String>, info: VMCoreInfo, memory: VirtualMemory) throws(KernelError) {
        do {
            guard let anchor = info.symbol("_stext") else { throw KernelError.noVMCoreInfoLine("SYMBOL(_stext)") }
            let parts =
                try SymbolTableParts.named(in: info, memory: memory) ?? SymbolTableSearch(memory: memory).parts(from: anchor)
            let tokens = try Tokens(table: parts.tokenTable, index: parts.tokenIndex, memory: memory)
            let found = try Self.find(
                wanted.union(["_stext"]), count: parts.count, names: parts.names, tokens: tokens, memory: memory)
            guard let index = found["_stext"] else { throw KernelError.symbols("it has no _stext") }
            let offsets = try SymbolOffsets(parts: parts, memory: memory, index: index, isAt: anchor)
            addresses = found.mapValues { offsets[$0] }
            // The table is sorted by address; several names can stand for one.
            ends = found.compactMapValues { index in
                (index + 1..<min(index + 32, parts.count)).lazy.map { offsets[$0] }.first { $0 > offsets[index] }
            }
        } catch let error as KernelError {
            throw error
        } catch let fault as MemoryFault {
            throw .memory(fault, reading: "the kernel's symbol table")
        } catch {
            throw .symbols("\(error)")
        }
    }

    /// The 256 pieces of which names are made.
    private struct Tokens {
        var pieces: [[UInt8]] = []

        init(table: VirtualAddress, index: VirtualAddress, memory: VirtualMemory) throws(MemoryFault) {
            for token in 0..<256 {
                let offset = try memory.integer(at: index + token * 2, as: UInt16.self)
                pieces.append(Array(try memory.string(at: table + Int(offset), limit: 128).utf8))
            }
        }
    }

    /// Walks the compressed names and returns the position in the table of each wanted one (of the first, if it stands there twice).
    private static func find(
        _ wanted: Set<String>, count: Int, names: VirtualAddress, tokens: Tokens, memory: VirtualMemory
    ) throws -> [String: Int] {
        let wantedBytes = Dictionary(uniqueKeysWithValues: wanted.map { (Array($0.utf8), $0) })
        let longest = wantedBytes.keys.map(\.count).max() ?? 0
        var found: [String: Int] = [:]
        var stream = ByteStream(memory: memory, position: names)
        var name: [UInt8] = []
        for index in 0..<count {
            var length = Int(try stream.next())
            // Names of 128 tokens and more take two bytes (commit 73bbb94466fd, Linux 6.1).
            if length & 0x80 != 0 { length = (length & 0x7f) | Int(try stream.next()) << 7 }
            guard length > 0 else { throw KernelError.symbols("symbol \(index) has no name") }
            name.removeAll(keepingCapacity: true)
            for _ in 0..<length {
                let token = try stream.next()
                if name.count <= longest { name += tokens.pieces[Int(token)] }
            }
            // The first character is the symbol's type.
            guard name.count > 1, name.count <= longest + 1, let text = wantedBytes[Array(name.dropFirst())] else { continue }
            if found[text] == nil { found[text] = index }
        }
        return found
    }

    /// Bytes of virtual memory one after the other, fetched a page's worth at a time.
    private struct ByteStream {
        let memory: VirtualMemory
        var position: VirtualAddress
        var chunk: [UInt8] = []
        var index = 0

        init(memory: VirtualMemory, position: VirtualAddress) {
            self.memory = memory
            self.position = position
        }

        mutating func next() throws(MemoryFault) -> UInt8 {
            if index == chunk.count {
                let length = FrameNumber.size - position.offsetInPage
                chunk = try memory.bytes(at: position, count: length)
                position = position + length
                index = 0
            }
            defer { index += 1 }
            return chunk[index]
        }
    }
}
