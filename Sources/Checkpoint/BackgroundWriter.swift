import Glibc

/// Writes to a file in a thread of its own, so that the next pages are read while the disk takes the last ones.
///
/// Safe to share between the two threads: whatever is written below belongs to the one or the other by turns, and the semaphores, which order memory
/// accesses too, say whose turn it is.
@safe final class BackgroundWriter: @unchecked Sendable {
    private let descriptor: Int32
    /// What is to be written; nil: the thread is to end.
    private var job: UnsafeRawBufferPointer?
    /// The number of the first error. Nothing is written after it, for the file has a hole.
    private var failure: Int32 = 0
    /// Bytes that have arrived; to be looked at after `finish`.
    private(set) var bytesWritten: UInt64 = 0
    /// Posted when there is a job, and when the thread has none.
    private let work: UnsafeMutablePointer<sem_t>
    private let idle: UnsafeMutablePointer<sem_t>
    private var thread = pthread_t()

    /// Starts the thread; nil when there can be none.
    /// - Parameter descriptor: the file; it stays the caller's, and open until `finish`.
    init?(_ descriptor: Int32) {
        self.descriptor = descriptor
        // Both live until `deinit`, which comes after the thread's end.
        unsafe work = .allocate(capacity: 1)
        unsafe idle = .allocate(capacity: 1)
        unsafe sem_init(work, 0, 0)
        unsafe sem_init(idle, 0, 1)
        // The thread uses the object only until it has ended, and whoever made the object keeps it until then (`finish`).
        let status = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                unsafe Unmanaged<BackgroundWriter>.fromOpaque(argument).takeUnretainedValue().run()
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
        guard status == 0 else { return nil }
    }

    deinit {
        unsafe sem_destroy(work)
        unsafe sem_destroy(idle)
        unsafe work.deallocate()
        unsafe idle.deallocate()
    }

    /// Has `bytes` written behind what was written before, once that is done. They must stay as they are until the next call returns.
    /// - Returns: the number of an error of an earlier call; 0 for none.
    func write(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        unsafe wait(for: idle)
        guard failure == 0 else {
            unsafe sem_post(idle)
            return failure
        }
        unsafe job = unsafe bytes
        unsafe sem_post(work)
        return 0
    }

    /// Waits for everything and ends the thread. To be called once, as the last.
    /// - Returns: the number of the first error; 0 for none.
    func finish() -> Int32 {
        unsafe wait(for: idle)
        unsafe job = nil
        unsafe sem_post(work)
        pthread_join(thread, nil)
        return failure
    }

    private func run() {
        while true {
            unsafe wait(for: work)
            guard let bytes = unsafe job else { return }
            failure = unsafe Self.write(bytes, to: descriptor, counting: &bytesWritten)
            unsafe sem_post(idle)
        }
    }

    /// Waits through signals.
    private func wait(for semaphore: UnsafeMutablePointer<sem_t>) {
        while unsafe sem_wait(semaphore) != 0, errno == EINTR {}
    }

    /// Writes all of `bytes`.
    /// - Returns: the number of the error; 0 for none.
    static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, counting total: inout UInt64) -> Int32 {
        var done = 0
        while done < bytes.count {
            // At most the rest of the bytes is read.
            let written = unsafe Glibc.write(descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done)
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return written < 0 ? errno : EIO }
            done += written
            total &+= UInt64(written)
        }
        return 0
    }
}
