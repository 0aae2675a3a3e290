import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct cred` and `struct group_info` (include/linux/cred.h).
struct CredentialsLayout: Sendable {
    let uid, gid, suid, sgid, euid, egid, fsuid, fsgid: Field
    let secureBits: Field
    let inheritable, permitted, effective, bounding, ambient: Field
    let userNamespace: Field
    /// What modules for security keep, and where in it each has its part.
    let security: Field?
    let securityPart: Field?
    let groupInfo: Field
    let groupCount: Field
    let groupIDs: Field

    init(_ types: TypeTable) throws(KernelError) {
        let cred = try types.structure("cred")
        uid = try cred.field("uid.val")
        gid = try cred.field("gid.val")
        suid = try cred.field("suid.val")
        sgid = try cred.field("sgid.val")
        euid = try cred.field("euid.val")
        egid = try cred.field("egid.val")
        fsuid = try cred.field("fsuid.val")
        fsgid = try cred.field("fsgid.val")
        secureBits = try cred.field("securebits")
        inheritable = try cred.field("cap_inheritable")
        permitted = try cred.field("cap_permitted")
        effective = try cred.field("cap_effective")
        bounding = try cred.field("cap_bset")
        ambient = try cred.field("cap_ambient")
        userNamespace = try cred.field("user_ns")
        security = cred.optional("security")
        securityPart = (try? types.structure("lsm_blob_sizes"))?.optional("lbs_cred")
        groupInfo = try cred.field("group_info")
        let groups = try types.structure("group_info")
        groupCount = try groups.field("ngroups")
        groupIDs = try groups.field("gid")
    }
}

extension DeadKernel {
    /// NGROUPS_MAX.
    private static let groupLimit: Int32 = 65_536

    /// The credentials that are a task's own, `real_cred`. A call may use others for its length: access(2), and all in an overlay (override_creds, kernel/cred.c). It
    /// keeps what it comes back to on the kernel stack.
    /// - Returns: nil when the task has two and neither is known to be its own.
    func ownCredentials(of task: TaskAddress) throws(MemoryFault) -> VirtualAddress? {
        let used = try reader.pointer(layout.task.credentials, of: task)
        guard let field = layout.taskChecks.realCredentials else { return used }
        let own = try reader.pointer(field, of: task)
        if own == used { return own }
        guard let stack = try liveStack(of: task) else { return nil }
        let isKept = stride(from: 0, to: stack.bytes.count, by: 8).contains { stack.word($0) == own.rawValue }
        return isKept ? own : nil
    }

    /// Those by which a task is described; of which ``ownCredentials(of:)`` does not know is refused.
    func credentialsAddress(of task: TaskAddress) throws(MemoryFault) -> VirtualAddress {
        if let own = try ownCredentials(of: task) { return own }
        return try reader.pointer(layout.task.credentials, of: task)
    }

    func credentials(of task: TaskAddress) throws(MemoryFault) -> Credentials {
        let cred = try credentialsAddress(of: task)
        let fields = layout.credentials
        var result = Credentials()
        result.uid = try reader.uint32(fields.uid, of: cred)
        result.gid = try reader.uint32(fields.gid, of: cred)
        result.savedUID = try reader.uint32(fields.suid, of: cred)
        result.savedGID = try reader.uint32(fields.sgid, of: cred)
        result.effectiveUID = try reader.uint32(fields.euid, of: cred)
        result.effectiveGID = try reader.uint32(fields.egid, of: cred)
        result.filesystemUID = try reader.uint32(fields.fsuid, of: cred)
        result.filesystemGID = try reader.uint32(fields.fsgid, of: cred)
        result.secureBits = try reader.uint32(fields.secureBits, of: cred)
        // kernel_cap_t is eight bytes, as two words or as one (commit f122a08b197d, 6.3): the same bytes on x86.
        func capabilities(_ field: Field) throws(MemoryFault) -> UInt64 { try reader.memory.integer(at: cred + field.offset) }
        result.inheritable = try capabilities(fields.inheritable)
        result.permitted = try capabilities(fields.permitted)
        result.effective = try capabilities(fields.effective)
        result.bounding = try capabilities(fields.bounding)
        result.ambient = try capabilities(fields.ambient)
        result.noNewPrivileges = try reader.value(layout.task.atomicFlags, of: task) & 1 == 1
        result.confinement = try confinement(by: cred)
        let info = try reader.pointer(fields.groupInfo, of: cred)
        let count = try reader.int32(fields.groupCount, of: info)
        guard (0...Self.groupLimit).contains(count) else { throw MemoryFault(.damaged("\(count) groups"), at: info) }
        for index in 0..<Int(count) {
            result.groups.append(try reader.memory.integer(at: info + fields.groupIDs.offset + index * 4))
        }
        return result
    }
}

extension DeadKernel {
    /// Modules that confine processes, by what the kernel calls them.
    private static let modules = ["apparmor": "AppArmor", "selinux": "SELinux", "landlock": "Landlock"]
    static let securitySymbols = Set(modules.keys.map { "\($0)_blob_sizes" } + ["lsm_names"])

    /// The module for security by which credentials are confined otherwise than the kernel's own (`init_cred`): by the first word of its part, which is a label, two numbers
    /// of labels, or a domain (security/apparmor/include/cred.h, security/selinux/include/objsec.h, security/landlock/cred.h).
    ///
    /// Only modules that are at work (`lsm_names` of security/security.c) have a part: of the others `lbs_cred` says how large it would be, not where it is.
    fileprivate func confinement(by cred: VirtualAddress) throws(MemoryFault) -> String? {
        let symbols = manifest.symbols.addresses
        guard let security = layout.credentials.security, let part = layout.credentials.securityPart,
            let free = symbols["init_cred"], let names = symbols["lsm_names"]
        else { return nil }
        let own = try reader.pointer(security, of: cred)
        let other = try reader.pointer(security, of: free)
        guard !own.isNull, !other.isNull, own != other else { return nil }
        let atWork = try reader.memory.string(at: reader.memory.pointer(at: names), limit: 256).split(separator: ",")
        for word in atWork {
            guard let name = Self.modules[String(word)], let sizes = symbols["\(word)_blob_sizes"] else { continue }
            let offset = try reader.signed(part, of: sizes)
            guard 0..<4096 ~= offset else { continue }
            let first: UInt64 = try reader.memory.integer(at: own + Int(offset))
            let second: UInt64 = try reader.memory.integer(at: other + Int(offset))
            if first != second { return name }
        }
        return nil
    }
}
