import ProcessModel

/// What is said of the kernel's keys: CRIU saves none, and they are not for a dump to hand out.
enum KeyringAssessment {
    static func concerns(about process: DeadProcess) -> [String] {
        var result: [String] = []
        // Its threads share these.
        let shared = process.threads.reduce(into: Keyrings()) { $0.formUnion($1.keyrings) }
        if shared.contains(.process) { result.append("its process keyring is lost") }
        if shared.contains(.session) { result.append("the keys in its session keyring are lost") }
        for thread in process.threads where thread.keyrings.contains(.thread) {
            result.append("the keyring of thread \(thread.tid) is lost")
        }
        return result
    }
}
