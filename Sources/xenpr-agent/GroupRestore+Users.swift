import Glibc

extension GroupRestore {
    /// Lets who restores the group read its images: in a user namespace of its own CRIU begins as the guest's root, without any of root's rights, and goes on as
    /// the namespace's root. Nobody else gets to them, for where the recovery volume is mounted is open to root alone.
    func lendImages() throws(AgentError) {
        guard let reader = group.imagesGroup else { return }
        let images = directory + "/images"
        guard let place = Descriptor(taking: System.open(images, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)),
            fchown(place.number, 0, reader) == 0, fchmod(place.number, 0o750) == 0,
            System.list(images).allSatisfy({ lend($0, of: place, to: reader) })
        else {
            throw AgentError(
                description: "cannot let group \(reader), root of its user namespace, read \(images): \(errorText(errno))")
        }
    }

    private func lend(_ name: String, of images: borrowing Descriptor, to reader: UInt32) -> Bool {
        guard let image = Descriptor(taking: System.openBeneath(images, name, O_RDONLY)) else { return false }
        return fchown(image.number, 0, reader) == 0 && fchmod(image.number, 0o640) == 0
    }
}
