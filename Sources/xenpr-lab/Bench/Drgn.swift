import Foundation

/// The debugger drgn, which lists what xenpr lists: an oracle and a measure, in the lab's cache and nowhere else.
///
/// It knows a kernel's types from the DWARF in Debian's debug package, of which the kernel's own part is kept.
struct Drgn: Sendable {
    static let version = "0.3.0"

    /// Where Python finds it.
    let library: String
    /// vmlinux with DWARF.
    let symbols: String

    /// Gets both once; needs the host's network then.
    static func make(for guest: GuestSystem, in cache: Cache, progress: Progress) async throws -> Drgn {
        let kernel = try await GuestKernel.newest(for: guest, in: cache, progress: progress)
        let python = try await Tool.require("python3", ["-c", "import sys; print(sys.implementation.cache_tag)"])
            .trimmingCharacters(in: .whitespacesAndNewlines)
        let library = try await cache.entry("drgn-\(version)-\(python)") { temporary in
            progress("getting drgn \(version) from PyPI")
            try await Tool.require(
                "python3",
                [
                    "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target",
                    temporary, "drgn==\(version)",
                ], timeout: .seconds(300))
        }
        let package = "linux-image-\(kernel.release)-dbg"
        let symbols = try await cache.entry("symbols-\(kernel.release)") { temporary in
            progress("downloading \(package) for drgn")
            let download = temporary + ".download"
            defer { try? FileManager.default.removeItem(atPath: download) }
            try FileManager.default.createDirectory(atPath: download, withIntermediateDirectories: true)
            try await Tool.require("apt-get", ["-q", "download", package], directory: download, timeout: .seconds(600))
            progress("unpacking the kernel's symbols for drgn")
            let member = "./usr/lib/debug/boot/vmlinux-\(kernel.release)"
            try await Tool.require(
                "/bin/bash",
                [
                    "-c",
                    "set -o pipefail; dpkg-deb --fsys-tarfile \(quoted(download))/*.deb | tar -xOf - \(quoted(member)) > \(quoted(temporary))",
                ], timeout: .seconds(600))
        }
        return Drgn(library: library, symbols: symbols)
    }

    /// Lists all areas and descriptors of a dump: where each area is and its flags, each descriptor's number and flags; no names, which would take it several times as long.
    func list(_ dump: String, scriptIn directory: String) async throws -> ListingTime {
        let script = "\(directory)/list.py"
        try Self.script.write(toFile: script, atomically: false, encoding: .utf8)
        let began = ContinuousClock.now
        let output = try await Tool.require(
            "python3", [script, dump, symbols], environment: ["PYTHONPATH": library], timeout: .seconds(300))
        let whole = (ContinuousClock.now - began).seconds
        guard let line = output.split(whereSeparator: \.isNewline).last, let time = ListingTime(line: line, wholeSeconds: whole)
        else { throw LabFailure("drgn did not list the dump: \(output.suffix(200))") }
        return time
    }

    private static let script = """
        import sys
        from time import monotonic
        from drgn import Program
        from drgn.helpers.linux.fs import for_each_file
        from drgn.helpers.linux.mm import for_each_vma
        from drgn.helpers.linux.list import list_for_each_entry
        program = Program()
        program.set_core_dump(sys.argv[1])
        program.load_debug_info([sys.argv[2]])
        init = program["init_task"]
        start = monotonic()
        processes, areas, descriptors = 0, [], []
        for task in list_for_each_entry("struct task_struct", init.tasks.address_of_(), "tasks"):
            mm = task.mm
            if not mm: continue
            processes += 1
            for area in for_each_vma(mm):
                areas.append((area.vm_start.value_(), area.vm_end.value_(), area.vm_flags.value_()))
            for number, file in for_each_file(task):
                descriptors.append((number, file.f_flags.value_()))
        seconds = monotonic() - start
        print(f"listed {len(areas)} areas and {len(descriptors)} descriptors of {processes} processes in {seconds:.6f} s")

        """
}
