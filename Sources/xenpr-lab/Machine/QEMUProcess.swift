import Foundation
import Subprocess
import SystemPackage

/// A running QEMU and its control channel (QMP on QEMU's standard input and output).
actor QEMUProcess {
    /// An event of QMP, such as GUEST_PANICKED.
    struct Event: Sendable {
        let name: String
    }

    private let requests: AsyncStream<String>.Continuation
    private var events: [Event] = []
    private var eventWaiters: [(names: Set<String>, continuation: CheckedContinuation<Event, any Error>)] = []
    private var replies: [CheckedContinuation<String, any Error>] = []
    private var ended: LabFailure?
    private var life: Task<Void, Never>?

    /// Starts QEMU with these arguments; what it says on standard error goes to `log`.
    static func start(_ arguments: [String], log: String) async throws -> QEMUProcess {
        let (stream, continuation) = AsyncStream.makeStream(of: String.self)
        let process = QEMUProcess(requests: continuation)
        await process.begin(arguments, log: log, requests: stream)
        _ = try await process.command("qmp_capabilities", timeout: .seconds(30))
        return process
    }

    private init(requests: AsyncStream<String>.Continuation) { self.requests = requests }

    private func begin(_ arguments: [String], log: String, requests: AsyncStream<String>) {
        life = Task {
            var failure = LabFailure("qemu has ended; what it said is in \(log)")
            do {
                let file = try FileDescriptor.open(
                    FilePath(log), .writeOnly, options: [.create, .append, .closeOnExec], permissions: .ownerReadWrite)
                _ = try await Subprocess.run(
                    .name("qemu-system-x86_64"), arguments: Arguments(arguments + ["-qmp", "stdio"]),
                    platformOptions: Tool.ownSession, input: .inputWriter, output: .sequence,
                    error: .fileDescriptor(file, closeAfterSpawningProcess: true)
                ) { execution in
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        group.addTask {
                            for await request in requests { _ = try await execution.standardInputWriter.write(request) }
                        }
                        let lines = execution.standardOutput.strings(bufferingPolicy: .unbounded)
                        for try await line in lines { self.received(line) }
                        group.cancelAll()
                    }
                }
            } catch {
                failure = LabFailure("qemu has ended: \(error); what it said is in \(log)")
            }
            self.end(failure)
        }
    }

    /// Sends a command and returns its reply (a JSON object).
    ///
    /// - Parameter arguments: JSON text of the arguments.
    @discardableResult
    func command(_ name: String, arguments: String = "{}", timeout: Duration) async throws -> String {
        let limit = Task {
            try await Task.sleep(for: timeout)
            self.end(LabFailure("cannot control qemu: no reply to \(name) within \(timeout.components.seconds) s"))
        }
        defer { limit.cancel() }
        let reply: String = try await withCheckedThrowingContinuation { continuation in
            if let ended {
                continuation.resume(throwing: ended)
                return
            }
            replies.append(continuation)
            requests.yield("{\"execute\":\"\(name)\",\"arguments\":\(arguments)}\n")
        }
        guard !reply.hasPrefix("{\"error\"") else { throw LabFailure("qemu refuses \(name): \(reply)") }
        return reply
    }

    /// The output of a command of QEMU's human monitor.
    func monitor(_ command: String, timeout: Duration) async throws -> String {
        struct Reply: Decodable { let `return`: String }
        let reply = try await self.command(
            "human-monitor-command", arguments: "{\"command-line\":\"\(command)\"}", timeout: timeout)
        return try JSONDecoder().decode(Reply.self, from: Data(reply.utf8)).return
    }

    /// Waits for the first event with one of these names, also if it has come already.
    func event(_ names: Set<String>, within limit: Duration, doing what: String) async throws -> Event {
        let timer = Task {
            try await Task.sleep(for: limit)
            self.failWaiters(LabFailure("cannot \(what): qemu reported nothing of it within \(limit.components.seconds) s"))
        }
        defer { timer.cancel() }
        return try await withCheckedThrowingContinuation { continuation in
            if let index = events.firstIndex(where: { names.contains($0.name) }) {
                continuation.resume(returning: events.remove(at: index))
            } else if let ended {
                continuation.resume(throwing: ended)
            } else {
                eventWaiters.append((names, continuation))
            }
        }
    }

    /// Ends QEMU and waits until it is gone.
    func quit() async {
        if ended == nil { _ = try? await command("quit", timeout: .seconds(10)) }
        requests.finish()
        let killer = Task { [life] in
            try await Task.sleep(for: .seconds(10))
            life?.cancel()
        }
        await life?.value
        killer.cancel()
    }

    private func received(_ line: String) {
        struct Message: Decodable { let event: String? }
        guard let message = try? JSONDecoder().decode(Message.self, from: Data(line.utf8)) else { return }
        if let name = message.event {
            let event = Event(name: name)
            if let index = eventWaiters.firstIndex(where: { $0.names.contains(name) }) {
                eventWaiters.remove(at: index).continuation.resume(returning: event)
            } else {
                events.append(event)
            }
        } else if !line.hasPrefix("{\"QMP\""), !replies.isEmpty {
            replies.removeFirst().resume(returning: line)
        }
    }

    private func failWaiters(_ failure: LabFailure) {
        for waiter in eventWaiters { waiter.continuation.resume(throwing: failure) }
        eventWaiters = []
    }

    private func end(_ failure: LabFailure) {
        if ended == nil { ended = failure }
        failWaiters(failure)
        for reply in replies { reply.resume(throwing: failure) }
        replies = []
    }
}
