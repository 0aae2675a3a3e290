import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct packet_ring_buffer`, `struct pgv` and `struct tpacket_kbdq_core` (net/packet/internal.h).
struct PacketRingLayout: Sendable {
    let blocks: Field
    let blockBuffer: Field
    let blockSize: Int
    let pagesOfBlock: Field
    let blockCount: Field
    let frameBytes: Field
    let framesOfBlock: Field
    let lastFrame: Field
    let position: Field
    let activeBlock: Field
    let retirement: Field
    /// Nanoseconds since Linux 6.18, milliseconds before.
    let retirementIsTime: Bool
    let privateBytes: Field
    let features: Field

    init(_ types: TypeTable) throws(KernelError) {
        let ring = try types.structure("packet_ring_buffer")
        blocks = try ring.field("pg_vec")
        let block = try types.structure("pgv")
        blockBuffer = try block.field("buffer")
        blockSize = block.size
        pagesOfBlock = try ring.field("pg_vec_pages")
        blockCount = try ring.field("pg_vec_len")
        frameBytes = try ring.field("frame_size")
        framesOfBlock = try ring.field("frames_per_block")
        lastFrame = try ring.field("frame_max")
        position = try ring.field("head")
        activeBlock = try ring.field("prb_bdqc.kactive_blk_num")
        retirementIsTime = ring.optional("prb_bdqc.retire_blk_tov") == nil
        retirement = try ring.field(anyOf: "prb_bdqc.retire_blk_tov", "prb_bdqc.interval_ktime")
        privateBytes = try ring.field("prb_bdqc.blk_sizeof_priv")
        features = try ring.field("prb_bdqc.feature_req_word")
    }
}

extension KernelReader {
    /// The most blocks and frames believed of a ring, and the largest block: more than the kernel can allocate in one piece.
    private static let ringLimit: UInt32 = 1 << 20
    private static let blockLimit: UInt64 = 1 << 30
    /// TPACKET_V2 and TPACKET_V3 (include/uapi/linux/if_packet.h).
    private static let secondVersion: UInt32 = 1
    private static let thirdVersion: UInt32 = 2

    /// The ring at `address`, nil when there is none.
    ///
    /// - Parameters:
    ///   - version: TPACKET_*.
    ///   - isForSending: a TX ring, which is one of frames in all versions.
    func packetRing(
        at address: VirtualAddress, version: UInt32, isForSending: Bool, layout: PacketRingLayout
    ) throws(MemoryFault) -> PacketSocket.Ring? {
        let blocks = try pointer(layout.blocks, of: address)
        guard !blocks.isNull else { return nil }
        let blockBytes = try value(layout.pagesOfBlock, of: address) << 12
        let count = try uint32(layout.blockCount, of: address)
        let frameBytes = try uint32(layout.frameBytes, of: address)
        let last = try uint32(layout.lastFrame, of: address)
        let perBlock = try uint32(layout.framesOfBlock, of: address)
        guard 1...Self.blockLimit ~= blockBytes, 1...Self.ringLimit ~= count, frameBytes >= 16,
            UInt64(frameBytes) <= blockBytes, last < Self.ringLimit, perBlock >= 1,
            UInt64(perBlock) * UInt64(frameBytes) <= blockBytes, UInt64(perBlock) * UInt64(count) == UInt64(last) + 1
        else {
            throw MemoryFault(.damaged("packet ring of \(count) blocks of \(blockBytes) bytes, \(last) frames"), at: address)
        }
        var ring = PacketSocket.Ring(
            blockBytes: UInt32(blockBytes), blockCount: count, frameBytes: frameBytes, frameCount: last + 1)
        let isOfBlocks = version == Self.thirdVersion && !isForSending
        if isOfBlocks {
            let retirement = try value(layout.retirement, of: address)
            ring.retireMilliseconds = UInt32(clamping: layout.retirementIsTime ? retirement / 1_000_000 : retirement)
            ring.privateBytes = try uint32(layout.privateBytes, of: address)
            ring.features = try uint32(layout.features, of: address)
        }
        ring.position = try uint32(isOfBlocks ? layout.activeBlock : layout.position, of: address)
        for index in 0..<Int(count) {
            let buffer = try pointer(layout.blockBuffer, of: blocks + index * layout.blockSize)
            if isOfBlocks {
                ring.waitingPackets &+= try packets(inBlock: buffer, isActive: index == Int(ring.position))
            } else {
                for frame in 0..<Int(perBlock) {
                    let status = try status(ofFrame: buffer + frame * Int(frameBytes), version: version)
                    // TP_STATUS_USER; of a frame to be sent TP_STATUS_SEND_REQUEST and TP_STATUS_SENDING.
                    if status & (isForSending ? 3 : 1) != 0 { ring.waitingPackets &+= 1 }
                }
            }
        }
        return ring
    }

    /// `tp_status` of `struct tpacket_hdr` (a long), `tpacket2_hdr` and `tpacket3_hdr`.
    private func status(ofFrame frame: VirtualAddress, version: UInt32) throws(MemoryFault) -> UInt64 {
        switch version {
        case Self.secondVersion: try memory.unsigned(at: frame, size: 4)
        case Self.thirdVersion: try memory.unsigned(at: frame + 20, size: 4)
        default: try memory.unsigned(at: frame, size: 8)
        }
    }

    /// `block_status` and `num_pkts` of `struct tpacket_block_desc`. The kernel counts while it fills the active block.
    private func packets(inBlock block: VirtualAddress, isActive: Bool) throws(MemoryFault) -> UInt32 {
        let status = try memory.unsigned(at: block + 8, size: 4)
        guard status & 1 != 0 || isActive else { return 0 }
        return UInt32(truncatingIfNeeded: try memory.unsigned(at: block + 12, size: 4))
    }
}
