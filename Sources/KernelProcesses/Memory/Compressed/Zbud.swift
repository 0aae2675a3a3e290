import GuestMemory
import KernelObjects
import ProcessModel

extension DeadKernel {
    /// Bytes of an object of zbud (mm/zbud.c, up to 6.14), which puts two into a page, behind its header and at the end. Its handle is the object's address.
    func zbudBytes(of handle: UInt64, count: Int) throws -> [UInt8] {
        guard let types = try types(of: "zbud", having: "zbud_header"), let header = try? types.structure("zbud_header"),
            let first = header.optional("first_chunks"), let last = header.optional("last_chunks")
        else { throw PageSupplyError("the kernel has no types of its allocator zbud") }
        // CHUNK_SIZE: the header takes one, and sizes are told in them.
        let chunk: UInt64 = 64
        let object = VirtualAddress(handle)
        let offset = UInt64(object.offsetInPage)
        let chunks: UInt64
        if offset == chunk {
            chunks = try reader.value(first, of: object.page)
        } else {
            chunks = try reader.value(last, of: object.page)
            guard chunks < UInt64(FrameNumber.size) / chunk, offset == UInt64(FrameNumber.size) - chunks * chunk else {
                throw MemoryFault(.damaged("no object of zbud where its handle leads"), at: object)
            }
        }
        guard object.isKernel, count >= 0, chunks < UInt64(FrameNumber.size) / chunk, UInt64(count) <= chunks * chunk else {
            throw MemoryFault(.damaged("\(count) bytes in an object of zbud for \(chunks) pieces"), at: object)
        }
        return try reader.memory.bytes(at: object, count: count)
    }
}
