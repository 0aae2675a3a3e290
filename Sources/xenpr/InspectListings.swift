import KernelProcesses

/// `inspect SOURCE vm`.
struct AllAreasReport: InspectReport {
    struct Process: Encodable {
        let pid: Int32
        let command: String
        let areas: [Area]
    }

    struct Area: Encodable {
        let start: String
        let end: String
        let protection: String
        let offset: UInt64
        let what: String
    }

    let schema = "xenpr.areas/1"
    let processes: [Process]

    init(_ list: [ListedProcess<ListedArea>]) {
        processes = list.map { process in
            Process(
                pid: process.pid, command: process.command,
                areas: process.items.map {
                    Area(
                        start: hex($0.start.rawValue), end: hex($0.end.rawValue),
                        protection: protectionText($0.protection) + ($0.isShared ? "s" : "p"), offset: $0.offsetBytes,
                        what: $0.what)
                })
        }
    }

    var table: Table {
        var table = Table("PID", "START", "END", "PROT", "OFFSET", "WHAT")
        for process in processes {
            let pid = "\(process.pid)"
            for area in process.areas { table.add(pid, area.start, area.end, area.protection, hex(area.offset), area.what) }
        }
        return table
    }
}

/// `inspect SOURCE files`.
struct AllFilesReport: InspectReport {
    struct Process: Encodable {
        let pid: Int32
        let command: String
        let files: [File]
    }

    struct File: Encodable {
        let descriptor: Int32
        let flags: String
        let position: UInt64
        let what: String
    }

    let schema = "xenpr.descriptors/1"
    let processes: [Process]

    init(_ list: [ListedProcess<ListedDescriptor>]) {
        processes = list.map { process in
            Process(
                pid: process.pid, command: process.command,
                files: process.items.map {
                    File(
                        descriptor: $0.number, flags: "0" + String($0.flags, radix: 8), position: $0.position, what: $0.what)
                })
        }
    }

    var table: Table {
        var table = Table("PID", "FD", "FLAGS", "POSITION", "WHAT")
        for process in processes {
            let pid = "\(process.pid)"
            for file in process.files { table.add(pid, "\(file.descriptor)", file.flags, "\(file.position)", file.what) }
        }
        return table
    }
}
