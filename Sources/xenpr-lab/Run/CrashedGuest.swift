import Foundation

extension LabSetting {
    /// Boots main in QEMU, starts these cases, crashes its kernel, and leaves it at that.
    /// - Returns: the path of the dump of its memory; that of the registers has `.registers` behind it.
    func dump(ofGuestWith cases: [CaseDefinition], memoryMebibytes: Int, in directory: String) async throws -> String {
        let machine = qemuMachine(in: directory, memoryMebibytes: memoryMebibytes)
        do {
            let runners = cases.map { CaseRunner($0, directory: directory) }
            for runner in runners { try await runner.build() }
            progress("booting main")
            try await machine.boot()
            progress("starting \(runners.count) groups")
            try await machine.main.copyIn(
                "\(directory)/\(CaseRunner.copies)", to: CaseRunner.places, timeout: .seconds(300))
            let main = machine.main
            try await withThrowingTaskGroup(of: Void.self) { group in
                for runner in runners { group.addTask { try await runner.start(in: main) } }
                try await group.waitForAll()
            }
            progress("crashing main's kernel")
            try await machine.crash(.sysrq)
            let dump = try await machine.dump()
            await machine.shutdown()
            return dump
        } catch {
            await machine.shutdown()
            throw error
        }
    }
}
