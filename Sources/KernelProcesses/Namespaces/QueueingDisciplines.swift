import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct Qdisc` (include/net/sch_generic.h): how a device sends and receives, and programs (XDP) that see its packets before anybody else.
struct QueueingLayout: Sendable {
    let outgoing, operations, name: Field
    /// `struct netdev_queue` of what comes in.
    let incoming, inQueue: Field?
    /// `struct bpf_xdp_entity`, one for each way to attach one: two pointers.
    let programs: Field?

    /// nil for a kernel whose structures are other ones.
    init?(_ types: TypeTable) {
        guard let device = try? types.structure("net_device"), let outgoing = device.optional("qdisc"),
            let discipline = try? types.structure("Qdisc"), let operations = discipline.optional("ops"),
            let kind = try? types.structure("Qdisc_ops"), let name = kind.optional("id")
        else { return nil }
        self.outgoing = outgoing
        self.operations = operations
        self.name = name
        incoming = device.optional("ingress_queue")
        inQueue = (try? types.structure("netdev_queue"))?.optional("qdisc_sleeping")
        programs = device.optional("xdp_state")
    }
}

extension GroupBuilder {
    /// Those that a device has without anybody's doing (net/sched/sch_generic.c, and what distributions have net.core.default_qdisc be).
    private static let usualDisciplines: Set<KernelString> = ["noqueue", "noop", "pfifo_fast", "fq_codel", "fq", "mq"]

    /// Reads what somebody has set of how a device queues its packets.
    func readQueueing(of device: VirtualAddress, _ layout: QueueingLayout, into result: inout NetworkDevice)
        throws(MemoryFault)
    {
        let reader = kernel.reader
        var disciplines = [try reader.pointer(layout.outgoing, of: device)]
        if let incoming = layout.incoming, let inQueue = layout.inQueue {
            let queue = try reader.pointer(incoming, of: device)
            if !queue.isNull { disciplines.append(try reader.pointer(inQueue, of: queue)) }
        }
        for discipline in disciplines where !discipline.isNull {
            let operations = try reader.pointer(layout.operations, of: discipline)
            if operations.isNull { continue }
            let name = KernelString(bytes: try reader.text(layout.name, of: operations))
            if !Self.usualDisciplines.contains(name) { result.queueing.append(name) }
        }
        if let programs = layout.programs {
            result.hasPacketProgram = try reader.bytes(programs, of: device).contains { $0 != 0 }
        }
    }
}
