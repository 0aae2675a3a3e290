import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct eventfd_ctx`, `struct signalfd_ctx`, `struct timerfd_ctx`, `struct eventpoll` and `struct epitem` (fs/eventfd.c, fs/signalfd.c,
/// fs/timerfd.c, fs/eventpoll.c).
struct EventLayout: Sendable {
    let eventCount: Field
    let eventFlags: Field
    let signalMask: Field
    let timer: TimerDescriptorLayout
    let epollRoot: Field
    let itemNode: Field
    let itemFile: Field
    let itemDescriptor: Field
    let itemEvents: Field
    let itemData: Field

    init(_ types: TypeTable) throws(KernelError) {
        let event = try types.structure("eventfd_ctx")
        eventCount = try event.field("count")
        eventFlags = try event.field("flags")
        signalMask = try types.structure("signalfd_ctx").field("sigmask")
        timer = try TimerDescriptorLayout(types)
        epollRoot = try types.structure("eventpoll").field("rbr")
        let item = try types.structure("epitem")
        itemNode = try item.field("rbn")
        itemFile = try item.field("ffd.file")
        itemDescriptor = try item.field("ffd.fd")
        itemEvents = try item.field("event.events")
        itemData = try item.field("event.data")
    }
}

/// A registration whose file may not be known yet.
struct PendingEpollTarget: Sendable {
    var file: VirtualAddress
    var target: EpollTarget
}

extension FileReader {
    /// The most registrations believed of one epoll instance.
    private static let epollLimit = 1 << 20
    /// EFD_SEMAPHORE.
    private static let semaphoreFlag: UInt64 = 1

    func eventCounter(at context: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        .eventfd(
            counter: try kernel.value(layout.events.eventCount, of: context),
            isSemaphore: try kernel.value(layout.events.eventFlags, of: context) & Self.semaphoreFlag != 0)
    }

    func signalMask(at context: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        // The context holds what is not waited for (`signotset` in do_signalfd4).
        .signalfd(mask: ~(try kernel.value(layout.events.signalMask, of: context)))
    }

    /// Registrations are kept until `finish()`, for the files that they watch may be met later.
    mutating func epoll(at instance: VirtualAddress, file: FileID) throws(MemoryFault) -> OpenFile.Kind {
        let fields = layout.events
        var items: [VirtualAddress] = []
        // `rb_root_cached` begins with its `rb_root`, which is one pointer.
        let fault = kernel.forEach(
            inRedBlackTree: instance + fields.epollRoot.offset, link: fields.itemNode, layout: layout.tree,
            limit: Self.epollLimit
        ) { items.append($0) }
        if let fault { throw fault }
        var targets: [PendingEpollTarget] = []
        for item in items {
            let target = EpollTarget(
                descriptor: try kernel.int32(fields.itemDescriptor, of: item), file: nil,
                events: try kernel.uint32(fields.itemEvents, of: item), data: try kernel.value(fields.itemData, of: item))
            targets.append(PendingEpollTarget(file: try kernel.pointer(fields.itemFile, of: item), target: target))
        }
        epollTargets[file] = targets
        return .epoll(targets.map(\.target))
    }
}
