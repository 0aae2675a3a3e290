import KernelProcesses
import ProcessModel

/// One field that both know: how it reads in the record, and how the model would print it.
///
/// To compare another field, add a line to one of the tables of these. nil on the record's side: this kernel does not tell.
struct ComparedField<Subject>: Sendable {
    let name: String
    /// Compared only where nothing ran between the record and the crash.
    let isStillOnly: Bool
    let recorded: @Sendable (ProcRecord) -> String?
    let modelled: @Sendable (Subject) -> String?

    init(
        _ name: String, stillOnly: Bool = false, recorded: @escaping @Sendable (ProcRecord) -> String?,
        modelled: @escaping @Sendable (Subject) -> String?
    ) {
        self.name = name
        isStillOnly = stillOnly
        self.recorded = recorded
        self.modelled = modelled
    }
}

/// A process of the model with the group that its numbers belong to.
struct ModelledProcess {
    let process: DeadProcess
    let group: ProtectedGroup

    var leader: DeadThread? { process.threads.first }
    var addressSpace: AddressSpace? { process.addressSpace.flatMap { group.addressSpaces[$0] } }
    var filesystem: FilesystemContext? { process.filesystemContext.flatMap { group.filesystemContexts[$0] } }
    var actions: [SignalAction] { process.signalActions.flatMap { group.signalActions[$0] }?.actions ?? [] }
    var descriptors: [Descriptor] { process.descriptorTable.flatMap { group.descriptorTables[$0] }?.descriptors ?? [] }
    var isZombie: Bool { if case .zombie = process.state { true } else { false } }
}

/// What came of comparing: fields that differ, and how many were compared, for a comparison of nothing proves nothing.
struct ComparisonResult {
    var differences: [String] = []
    var compared = 0

    mutating func compare(_ object: String, _ field: String, _ recorded: String?, _ modelled: String?) {
        guard let recorded else { return }
        compared += 1
        guard recorded != modelled else { return }
        differences.append("\(object) \(field): /proc says \(recorded), the model \(modelled ?? "nothing")")
    }

    mutating func compare<Subject>(
        _ fields: [ComparedField<Subject>], _ object: String, _ record: ProcRecord, _ subject: Subject, isStill: Bool
    ) {
        for field in fields where isStill || !field.isStillOnly {
            compare(object, field.name, field.recorded(record), field.modelled(subject))
        }
    }
}

/// As the kernel prints sets of signals and capabilities (`%016llx`).
func hex16(_ value: UInt64) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, 16 - text.utf8.count)) + text
}

extension KernelString {
    /// As string_escape_str of /proc/PID/status and seq_path print a name.
    func escaped(_ special: String) -> String {
        bytes.map { byte in
            let character = Character(UnicodeScalar(byte))
            if special.contains(character) {
                switch byte {
                case 10 where special.hasPrefix("\n\\"): return "\\n"
                case 92 where special.hasPrefix("\n\\"): return "\\\\"
                default:
                    let octal = String(byte, radix: 8)
                    return "\\" + String(repeating: "0", count: 3 - octal.utf8.count) + octal
                }
            }
            return byte < 0x80 ? String(character) : "\u{fffd}"
        }.joined()
    }
}
