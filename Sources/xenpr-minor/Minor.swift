import GuestDisks
import GuestMemory
import KernelObjects
import KernelProcesses
import Salvage
import XenSource

/// The life of a minor: learn main's kernel while it is healthy, wait for its death, save its processes.
struct Minor {
    let link: ControlLink

    func serve() throws {
        link.enter(.learning)
        let memory = try DomainMemory(domain: link.main, frameLimit: link.frameLimit.map { FrameNumber($0) })
        let manifest: KernelManifest
        let layout: KernelLayout
        do {
            manifest = try KernelManifest.learn(from: memory, symbols: DeadKernel.symbols)
            layout = try KernelLayout(manifest.types)
        } catch {
            link.enter(.refused, "cannot understand the kernel of \(link.name): \(error)")
            // The reason stands in xenstore; the control domain ends this domain when it has read it.
            _ = try link.awaitCommand()
            return
        }
        // What the healthy kernel held is of no use after its crash, and its page tables may change until then.
        memory.forget()
        link.publish(kernel: manifest.info.release)
        link.enter(.armed, "Linux \(manifest.info.release)")
        switch try link.awaitCommand() {
        case .shutdown: link.enter(.done, "not needed")
        case .salvage: try salvage(memory, manifest, layout)
        case .disks: throw MinorFailure("the control domain attached disks that nobody had asked for")
        }
    }

    private func salvage(_ memory: DomainMemory, _ manifest: KernelManifest, _ layout: KernelLayout) throws {
        link.enter(.mapping)
        let contexts = try HVMContext.parse(try link.context())
        let kernel = DeadKernel(source: memory, manifest: manifest, layout: layout, cpus: contexts)
        try RecoveryVolume.mount()
        link.enter(.salvaging)
        let salvaging = Salvaging(kernel: kernel, link: link)
        do {
            do {
                try salvaging.run(into: RecoveryVolume.directory)
            } catch let swapped as SwappedOut {
                for (name, device) in try link.attach(swapped.disks, because: "\(swapped)") {
                    try DeviceNode.awaitNode(device)
                    kernel.disks[name] = try DiskFile(path: "\(DeviceNode.directory)/\(device)")
                }
                link.enter(.salvaging)
                try salvaging.run(into: RecoveryVolume.directory)
            }
        } catch {
            try? RecoveryVolume.unmount()
            throw error
        }
        try RecoveryVolume.unmount()
        link.enter(.done)
    }
}
