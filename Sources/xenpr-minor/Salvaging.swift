import Checkpoint
import KernelProcesses
import PlainJSON
import Salvage

/// One salvage: hands the dead kernel to the room Salvage and tells the control domain how it goes.
struct Salvaging {
    let kernel: DeadKernel
    let link: ControlLink

    /// Saves all groups to the mounted volume.
    /// - Throws: only when nothing of them can be used.
    func run(into directory: String) throws {
        let request = Salvage.Request(
            id: link.recovery ?? "unnamed", guest: link.name, salvager: .minor, volume: directory)
        let manifest = try Salvage.run(kernel, request) { progress in
            link.publish(progress: "\(progress.groupsDone)/\(progress.groups) \(progress.bytes) \(progress.pages)")
        }
        for group in manifest.groups {
            Console.note("group \(group.name): \(group.verdict), \(group.processes.count) processes, \(group.pages) pages")
        }
        let timeline = JSONValue.array(manifest.timeline.map(\.json)).bytes(.compact)
        link.publish(timeline: String(decoding: timeline, as: UTF8.self))
    }
}
