import GuestMemory

/// What one of the formats makes of a file.
struct DumpContents {
    var frames: any DumpedFrames
    var vmCoreInfo: [UInt8]?
    var cpus: [VCPUContext]
    var omittedPages: OmittedPages
    var machineFrames: MachineFrames?

    static func of(_ file: DumpBytes) throws(DumpError) -> DumpContents {
        if let core = try ELFCore(file) { return try of(core, in: file) }
        guard let layout = try KdumpLayout(file) else {
            throw DumpError(
                description:
                    "it is neither an ELF core nor a kdump, which QEMU's dump-guest-memory, makedumpfile and xl dump-core write"
            )
        }
        let notes = notes(in: layout.notes, of: file)
        return DumpContents(
            frames: KdumpFile(layout: layout, bytes: file), vmCoreInfo: notes.vmCoreInfo ?? bytes(layout.vmCoreInfo, of: file),
            cpus: notes.cpus, omittedPages: .kinds(layout.level))
    }

    private static func of(_ core: ELFCore, in file: DumpBytes) throws(DumpError) -> DumpContents {
        if let xen = try XenCore(core, in: file) {
            return DumpContents(
                frames: FlatFile(layout: xen.layout, bytes: file), vmCoreInfo: nil, cpus: xen.cpus, omittedPages: .none,
                machineFrames: xen.machineFrames)
        }
        guard let layout = FlatLayout(core, in: file) else {
            throw DumpError(description: "it is an ELF core without memory")
        }
        let notes = notes(
            in: core.segments.first { $0.kind == ELFCore.noteSegment }.map { ($0.offset, $0.sizeInFile) }, of: file)
        return DumpContents(
            frames: FlatFile(layout: layout, bytes: file), vmCoreInfo: notes.vmCoreInfo, cpus: notes.cpus,
            omittedPages: layout.lacksPages ? .unknownKinds : .none)
    }

    private static func notes(in place: (offset: UInt64, size: UInt64)?, of file: DumpBytes) -> DumpNotes {
        DumpNotes(bytes(place, of: file) ?? [])
    }

    /// Nil when they are not all there, or more than anything that is believed.
    private static func bytes(_ place: (offset: UInt64, size: UInt64)?, of file: DumpBytes) -> [UInt8]? {
        guard let place, place.size > 0, place.size <= DumpNotes.sizeLimit else { return nil }
        return file.bytes(at: place.offset, count: Int(place.size))
    }
}
