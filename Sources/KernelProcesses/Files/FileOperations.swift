import GuestMemory
import KernelTypes

/// Tells what a file is open on by its table of operations (`file->f_op`), each of which is a symbol of the kernel.
struct FileOperations: Sendable {
    enum Kind: Sendable, Hashable {
        case pipe, socket, eventfd, epoll, timerfd, signalfd, inotify, fanotify, sharedMemory, hugePages, terminal,
            hungUpTerminal, namespace, pidfd, pidfsFile, posixQueue
        /// Known, and not to be brought back: what to call it.
        case unsupported(String)
    }

    private let kinds: [VirtualAddress: Kind]

    private static let names: [String: Kind] = [
        "pipefifo_fops": .pipe,
        // Since 6.15 (commit 262b2fa99cbe) pipes without a name have their own.
        "pipeanon_fops": .pipe,
        "socket_file_ops": .socket,
        "eventfd_fops": .eventfd,
        "eventpoll_fops": .epoll,
        "timerfd_fops": .timerfd,
        "signalfd_fops": .signalfd,
        "shmem_file_operations": .sharedMemory,
        "inotify_fops": .inotify,
        "fanotify_fops": .fanotify,
        "io_uring_fops": .unsupported("io_uring instance"),
        "perf_fops": .unsupported("performance event"),
        "userfaultfd_fops": .unsupported("userfaultfd"),
        "pidfd_fops": .pidfd,
        "pidfs_file_operations": .pidfsFile,
        "tty_fops": .terminal,
        "hung_up_tty_fops": .hungUpTerminal,
        "console_fops": .terminal,
        "ptmx_fops": .terminal,
        "hugetlbfs_file_operations": .hugePages,
        "bpf_map_fops": .unsupported("BPF map"),
        "bpf_prog_fops": .unsupported("BPF program"),
        "bpf_link_fops": .unsupported("BPF link"),
        "mqueue_file_operations": .posixQueue,
        "ns_file_operations": .namespace,
        "secretmem_fops": .unsupported("secret memory"),
        "fscontext_fops": .unsupported("filesystem context"),
        "seccomp_notify_ops": .unsupported("seccomp listener"),
        "ruleset_fops": .unsupported("Landlock ruleset"),
        "kvm_chardev_ops": .unsupported("KVM device"),
    ]

    static var symbols: Set<String> { Set(names.keys) }

    init(symbols: SymbolTable) {
        var kinds: [VirtualAddress: Kind] = [:]
        for (name, kind) in Self.names { if let address = symbols.addresses[name] { kinds[address] = kind } }
        self.kinds = kinds
    }

    /// nil: the operations of some filesystem or device driver.
    func kind(at address: VirtualAddress) -> Kind? { kinds[address] }
}
