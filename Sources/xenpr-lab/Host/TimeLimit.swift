/// Does something that must end within `limit`; cancels it and throws otherwise, with `doing` in the message.
func withTimeLimit<Result: Sendable>(
    _ limit: Duration, doing what: String, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            throw LabFailure("cannot \(what): it did not end within \(limit.components.seconds) s")
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw LabFailure("cannot \(what): it was cancelled") }
        return first
    }
}

/// Asks again and again, with a pause between, until the answer is not nil; throws after `limit`.
///
/// Only for what sends no event of its own, such as a TCP port of a guest that boots.
func poll<Answer: Sendable>(
    every pause: Duration, within limit: Duration, for what: String, _ ask: @escaping @Sendable () async throws -> Answer?
) async throws -> Answer {
    try await withTimeLimit(limit, doing: "wait for \(what)") {
        while true {
            if let answer = try await ask() { return answer }
            try await Task.sleep(for: pause)
        }
    }
}
