import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

extension GroupBuilder {
    /// IPCMNI of include/linux/ipc_namespace.h: the most objects of one kind. With `ipcmni_extend` there may be more, which are not believed.
    private static let objectLimit = 32_768
    /// More than the nodes of an IDR of so many: the walk counts them too.
    private static let nodeLimit = 1024
    /// More messages of one queue are not believed, nor more processes with something to undo in one set.
    private static let messageLimit = 1 << 20
    private static let undoLimit = 1 << 16
    /// About what one `struct sem_undo` takes.
    private static let undoSize = 64
    /// SEMMSL can be raised to this (`sem_array.sem_nsems` is an int, its values take 2 bytes each in one message to user space).
    private static let semaphoreLimit: UInt64 = 1 << 16

    /// Reads `struct ipc_namespace`, with the contents of its message queues and semaphores; those of segments are pages.
    mutating func ipcNamespace(at namespace: VirtualAddress, _ layout: IPCLayout) throws(MemoryFault) -> IPCNamespace {
        let reader = kernel.reader
        var result = IPCNamespace()
        for index in 0..<min(layout.semaphoreLimits.count, 4) {
            result.semaphoreLimits.append(try reader.uint32(layout.semaphoreLimits.element(index), of: namespace))
        }
        for field in layout.messageLimits { result.messageLimits.append(try reader.uint32(field, of: namespace)) }
        result.largestSegment = try reader.value(layout.largestSegment, of: namespace)
        result.segmentPages = try reader.value(layout.segmentPages, of: namespace)
        result.segmentCount = try reader.uint32(layout.segmentCount, of: namespace)
        result.removesUnusedSegments = try reader.value(layout.removesUnusedSegments, of: namespace) != 0
        for field in layout.posixQueueLimits { result.posixQueueLimits.append(try reader.uint32(field, of: namespace)) }
        if let field = layout.posixQueues { result.posixQueues = try reader.uint32(field, of: namespace) }
        if let field = layout.nextID {
            for table in [IPCLayout.Table.semaphores, .messages, .segments] {
                result.nextIDs.append(try reader.int32(field, of: namespace + layout.table(table).offset))
            }
        }
        for object in try objects(.segments, of: namespace, layout) {
            result.segments.append(try segment(at: object - layout.segmentPermissions.offset, layout))
        }
        for object in try objects(.messages, of: namespace, layout) {
            result.messageQueues.append(try messageQueue(at: object - layout.queuePermissions.offset, layout))
        }
        for object in try objects(.semaphores, of: namespace, layout) {
            result.semaphoreSets.append(try semaphoreSet(at: object - layout.setPermissions.offset, layout))
        }
        return result
    }

    /// The `struct kern_ipc_perm` of each object of a kind.
    private func objects(_ table: IPCLayout.Table, of namespace: VirtualAddress, _ layout: IPCLayout) throws(MemoryFault)
        -> [VirtualAddress]
    {
        var objects: [VirtualAddress] = []
        let array = namespace + layout.table(table).offset + layout.idr.offset
        let limit = Self.objectLimit + Self.nodeLimit
        let fault = kernel.reader.forEach(inXArray: array, layout: kernel.layout.xarray, limit: limit) {
            objects.append($0.pointer)
        }
        if let fault { throw fault }
        guard objects.count <= Self.objectLimit else {
            throw MemoryFault(.damaged("more than \(Self.objectLimit) objects of one kind"), at: array)
        }
        // Slots of a node may lead to one and the same child.
        guard Set(objects).count == objects.count else { throw MemoryFault(.damaged("an object with two ids"), at: array) }
        var alive: [VirtualAddress] = []
        for object in objects where try kernel.reader.value(layout.isDeleted, of: object) == 0 { alive.append(object) }
        return alive
    }

    private func permissions(at object: VirtualAddress, _ layout: IPCLayout) throws(MemoryFault) -> IPCPermissions {
        let reader = kernel.reader
        return IPCPermissions(
            id: try reader.int32(layout.id, of: object), key: try reader.int32(layout.key, of: object),
            uid: try reader.uint32(layout.uid, of: object), gid: try reader.uint32(layout.gid, of: object),
            creatorUID: try reader.uint32(layout.creatorUID, of: object),
            creatorGID: try reader.uint32(layout.creatorGID, of: object), mode: try reader.uint32(layout.mode, of: object))
    }

    private mutating func segment(at segment: VirtualAddress, _ layout: IPCLayout) throws(MemoryFault) -> SharedSegment {
        let reader = kernel.reader
        let file = try reader.pointer(layout.segmentFile, of: segment)
        let memory = files.sharedMemory(ofInode: try reader.pointer(kernel.layout.files.file.inode, of: file))
        return SharedSegment(
            permissions: try permissions(at: segment + layout.segmentPermissions.offset, layout),
            sizeBytes: try reader.value(layout.segmentSize, of: segment),
            memory: memory, hugePageBytes: files.sharedMemory[memory]?.hugePageBytes ?? 0)
    }

    private mutating func messageQueue(at queue: VirtualAddress, _ layout: IPCLayout) throws(MemoryFault) -> MessageQueue {
        let reader = kernel.reader
        var addresses: [VirtualAddress] = []
        let head = queue + layout.queueMessages.offset
        let fault = reader.forEach(onList: head, link: layout.message.link, limit: Self.messageLimit) { addresses.append($0) }
        if let fault { throw fault }
        var messages: [MessageQueue.Message] = []
        for address in addresses {
            let bytes = try reader.text(ofMessage: address, layout.message, budget: &files.ipcBudget)
            messages.append(
                MessageQueue.Message(type: try reader.signed(layout.message.type, of: address), bytes: bytes))
        }
        return MessageQueue(
            permissions: try permissions(at: queue + layout.queuePermissions.offset, layout),
            limitBytes: try reader.value(layout.queueLimit, of: queue), messages: messages)
    }

    private mutating func semaphoreSet(at set: VirtualAddress, _ layout: IPCLayout) throws(MemoryFault) -> SemaphoreSet {
        let reader = kernel.reader
        let count = try reader.value(layout.setCount, of: set)
        guard 1...Self.semaphoreLimit ~= count else { throw MemoryFault(.damaged("set of \(count) semaphores"), at: set) }
        try files.ipcBudget.spend(Int(count) * max(layout.semaphoreSize, 2), at: set)
        var values: [UInt16] = []
        for index in 0..<Int(count) {
            let semaphore = set + layout.setSemaphores.offset + index * layout.semaphoreSize
            // SEMVMX is 32767.
            values.append(UInt16(truncatingIfNeeded: try reader.value(layout.semaphoreValue, of: semaphore)))
        }
        var undo: [VirtualAddress] = []
        let head = set + layout.setUndo.offset
        let fault = reader.forEach(onList: head, link: layout.undoLink, limit: Self.undoLimit) { undo.append($0) }
        if let fault { throw fault }
        var undoers = 0
        for structure in undo {
            try files.ipcBudget.spend(Int(count) * 2 + Self.undoSize, at: structure)
            let adjustments = try reader.pointer(layout.undoAdjustments, of: structure)
            if try reader.memory.bytes(at: adjustments, count: Int(count) * 2).contains(where: { $0 != 0 }) { undoers += 1 }
        }
        return SemaphoreSet(
            permissions: try permissions(at: set + layout.setPermissions.offset, layout), values: values, undoers: undoers)
    }
}
