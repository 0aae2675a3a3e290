import Glibc

extension GroupRestore {
    /// Registers the formats of programs that the group's binfmt_misc showed, and that the guest has not registered by itself. Returns what could not be done.
    func completeFormats() -> [String] {
        guard !group.formats.isEmpty else { return [] }
        // All mounts in one user namespace show the same formats, which stay when the mount goes (`bm_register_write` of fs/binfmt_misc.c).
        guard let formats = Descriptor(taking: System.makeMount("binfmt_misc", [], attributes: 0)) else {
            return ["its formats of programs are not registered (binfmt_misc): \(errorText(errno))"]
        }
        return group.formats.compactMap { format in
            // What the guest has registered under this name by itself stays as it is.
            if System.status(formats, format.name) != nil { return nil }
            guard let register = Descriptor(taking: System.openBeneath(formats, "register", O_WRONLY)),
                System.write(register.number, format.registration) == format.registration.count,
                System.status(formats, format.name) != nil
            else { return "the format \(format.name) is not registered (binfmt_misc): \(errorText(errno))" }
            if format.isEnabled { return nil }
            guard let file = Descriptor(taking: System.openBeneath(formats, format.name, O_WRONLY)),
                System.write(file.number, [UInt8(ascii: "0")]) == 1
            else { return "the format \(format.name) is enabled now: \(errorText(errno))" }
            return nil
        }
    }
}
