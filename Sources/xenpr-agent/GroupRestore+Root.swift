import Glibc

extension GroupRestore {
    /// OVERLAYFS_SUPER_MAGIC (include/uapi/linux/magic.h).
    private static let overlayMagic = 0x794c_7630

    /// Mounts the overlay that is the root of the group's own mount namespace, as a container's runtime had. It stays when the group ends, as any mount.
    func mountRoot() throws(AgentError) {
        guard let overlay = group.overlay, let root = group.mountRoot else { return }
        if System.filesystemType(root) == Self.overlayMagic, isMountPoint(root) { return }
        var path = ""
        for part in root.split(separator: "/") {
            path += "/" + part
            // One that exists is as good.
            _ = System.mkdir(path, 0o755)
        }
        var options = ["lowerdir=" + overlay.lower.joined(separator: ":")]
        if let upper = overlay.upper, let work = overlay.work { options += ["upperdir=" + upper, "workdir=" + work] }
        if !overlay.options.isEmpty { options.append(overlay.options) }
        let data = options.joined(separator: ",")
        // mount(2) takes one page.
        guard data.utf8.count < 4096 else {
            throw AgentError(description: "its root is an overlay of \(overlay.lower.count + 1) layers, too many for one mount")
        }
        guard System.mount("overlay", root, "overlay", 0, data) == 0 else {
            throw AgentError(description: "cannot mount the overlay \(root), its root: \(errorText(errno))")
        }
    }

    private func isMountPoint(_ path: String) -> Bool {
        guard let directory = Descriptor(taking: System.open(path, O_RDONLY | O_DIRECTORY)),
            let own = System.status(directory.number), let parent = System.status(directory, "..")
        else { return false }
        return own.st_dev != parent.st_dev
    }
}
