extension GroupRestore {
    /// Sees to it that the guest's pools have as many free pages as the group's mappings reserve: after a reboot they may be empty.
    func reservePages() throws(AgentError) {
        for pages in group.reservedPages {
            let kibibytes = pages.sizeBytes / 1024
            let pool = "/sys/kernel/mm/hugepages/hugepages-\(kibibytes)kB/"
            func read(_ name: String) -> Int64? { readText(pool + name)?.split(separator: "\n").first.flatMap { Int64($0) } }
            /// Those that are free and not promised to anybody.
            func free() -> Int64? {
                guard let free = read("free_hugepages"), let promised = read("resv_hugepages") else { return nil }
                return free - promised
            }
            guard let present = free(), let all = read("nr_hugepages") else {
                throw AgentError(description: "the guest has no huge pages of \(kibibytes) KiB")
            }
            if present >= pages.count { continue }
            // The kernel would give up all of its memory for them.
            guard let memory = availableBytes, pages.count - present <= memory / pages.sizeBytes else {
                throw AgentError(
                    description: "the guest has no memory for \(pages.count - present) more huge pages of \(kibibytes) KiB")
            }
            try writeControlFile(pool + "nr_hugepages", String(all + pages.count - present))
            let found = free() ?? 0
            guard found >= pages.count else {
                throw AgentError(
                    description:
                        "the guest has \(found) free huge pages of \(kibibytes) KiB where its mappings need \(pages.count)")
            }
        }
    }

    /// MemAvailable of proc(5).
    private var availableBytes: Int64? {
        let line = readText("/proc/meminfo")?.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
        return line.flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int64($0) }.map { $0 * 1024 }
    }
}
