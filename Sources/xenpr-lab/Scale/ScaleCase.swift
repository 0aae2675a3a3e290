import Foundation

/// A group that holds a given number of one thing: the work of `xenpr-lab scale`.
struct ScaleCase: Sendable {
    /// What there are many of.
    enum Thing: String, CaseIterable, Sendable {
        case processes, threads, descriptors, mappings, mebibytes

        /// The numbers that are measured.
        var counts: [Int] {
            switch self {
            case .processes: [1, 250, 500, 1000, 2000]
            case .threads: [1, 125, 250, 500, 1000]
            case .descriptors: [1, 1250, 2500, 5000, 10_000]
            case .mappings: [1, 12_500, 25_000, 50_000, 100_000]
            case .mebibytes: [1, 512, 1024, 4096]
            }
        }
    }

    let thing: Thing
    let count: Int

    var name: String { "\(thing.rawValue)-\(count)" }

    static let all = Thing.allCases.flatMap { thing in thing.counts.map { ScaleCase(thing: thing, count: $0) } }

    /// Writes the case's directory below `directory` (see ``CaseDefinition``).
    func write(to directory: String) throws -> CaseDefinition {
        let place = "\(directory)/\(name)"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        let build = "#!/bin/sh\ncc -O1 -static -pthread -o scale scale.c && rm scale.c\n"
        let start = """
            #!/bin/sh
            echo 1000000 > /proc/sys/vm/max_map_count
            ./scale \(thing.rawValue) \(count) > /dev/null 2>&1 < /dev/null &
            until [ -e ready ]; do sleep 0.1; done

            """
        // Nothing is recovered, so there is nothing to check; but a case has a check.
        let check = "#!/bin/sh\nexit 77\n"
        for (file, text) in [("scale.c", Self.program), ("build", build), ("start", start), ("check", check)] {
            try text.write(toFile: "\(place)/\(file)", atomically: false, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(place)/\(file)")
        }
        try "timeout_s = 600\n".write(toFile: "\(place)/case.toml", atomically: false, encoding: .utf8)
        guard let definition = try CaseDefinition.load([place]).first else {
            throw LabFailure("cannot read the case that was written to \(place)")
        }
        return definition
    }

    /// Takes the thing's name and their number, makes them, makes the file `ready`, and waits for ever.
    private static let program = """
        #include <fcntl.h>
        #include <pthread.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <sys/resource.h>
        #include <unistd.h>

        static void *wait_for_ever(void *unused) { for (;;) pause(); }

        // Every page differs, so that none is a page of zeros or the same as another.
        static void fill(unsigned long *memory, size_t bytes) {
            for (size_t i = 0; i < bytes / sizeof *memory; i += 512) memory[i] = (unsigned long)&memory[i] | 1;
        }

        static void *map(size_t bytes) {
            void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED) exit(1);
            return memory;
        }

        int main(int argc, char **argv) {
            const char *thing = argv[1];
            int count = atoi(argv[2]);
            if (!strcmp(thing, "processes")) {
                for (int i = 1; i < count; i++) {
                    pid_t child = fork();
                    if (child < 0) return 1;
                    if (child == 0) {
                        fill(map(16 << 12), 16 << 12);
                        wait_for_ever(NULL);
                    }
                }
            } else if (!strcmp(thing, "threads")) {
                pthread_attr_t attributes;
                pthread_attr_init(&attributes);
                pthread_attr_setstacksize(&attributes, 64 << 10);
                for (int i = 1; i < count; i++) {
                    pthread_t thread;
                    if (pthread_create(&thread, &attributes, wait_for_ever, NULL)) return 1;
                }
            } else if (!strcmp(thing, "descriptors")) {
                struct rlimit limit = {20000, 20000};
                if (setrlimit(RLIMIT_NOFILE, &limit)) return 1;
                for (int i = 0; i < count; i++)
                    if (open("scale", O_RDONLY) < 0) return 1;
            } else if (!strcmp(thing, "mappings")) {
                // Every other page may not be executed, so no two are one mapping.
                char *memory = map((size_t)count << 12);
                for (int i = 0; i < count; i += 2)
                    if (mprotect(memory + ((size_t)i << 12), 1 << 12, PROT_READ | PROT_WRITE | PROT_EXEC)) return 1;
                fill((unsigned long *)memory, (size_t)count << 12);
            } else {
                size_t bytes = (size_t)count << 20;
                void *memory = map(bytes);
                madvise(memory, bytes, MADV_NOHUGEPAGE);
                fill(memory, bytes);
            }
            close(open("ready", O_CREAT | O_WRONLY, 0600));
            wait_for_ever(NULL);
        }

        """
}
