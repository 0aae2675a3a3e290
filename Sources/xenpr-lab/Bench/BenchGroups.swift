import Foundation

/// The groups of the guest whose dump is measured: a process whose pages are scattered over the guest's memory, one with huge pages, and many small ones.
struct BenchGroups: Sendable {
    enum Kind: String, CaseIterable, Sendable {
        case scattered, huge, processes
    }

    /// Memory of the large processes.
    let mebibytes: Int
    let processes: Int
    /// What the contents of this run are made from.
    let seed: UInt64

    func name(_ kind: Kind) -> String { "bench-\(kind.rawValue)" }

    var contents: PageContents { PageContents(start: 0x2000_0000_0000, bytes: mebibytes << 20, seed: seed) }

    /// Writes the case's directory below `directory` (see ``CaseDefinition``).
    func write(_ kind: Kind, to directory: String) throws -> CaseDefinition {
        let place = "\(directory)/\(name(kind))"
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        let arguments = kind == .processes ? "\(processes)" : "\(contents.start) \(contents.bytes) \(seed)"
        let start = """
            #!/bin/sh
            ./bench \(kind.rawValue) \(arguments) < /dev/null &
            work=$!
            until [ -e ready ]; do kill -0 $work || exit 1; sleep 0.2; done

            """
        let files = [
            ("bench.c", Self.program), ("build", "#!/bin/sh\ncc -O2 -static -o bench bench.c && rm bench.c\n"),
            ("start", start),
            // Nothing is recovered, so there is nothing to check; but a case has a check.
            ("check", "#!/bin/sh\nexit 77\n"),
        ]
        for (file, text) in files {
            try text.write(toFile: "\(place)/\(file)", atomically: false, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(place)/\(file)")
        }
        try "timeout_s = 300\n".write(toFile: "\(place)/case.toml", atomically: false, encoding: .utf8)
        guard let definition = try CaseDefinition.load([place]).first else {
            throw LabFailure("cannot read the case that was written to \(place)")
        }
        return definition
    }

    /// Takes the kind, and either the number of processes, or the memory's address, bytes and seed. Makes the file `ready` when everything is as it should be.
    private static let program = """
        #include <fcntl.h>
        #include <stdint.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <sys/socket.h>
        #include <unistd.h>

        static void fail(const char *what) {
            perror(what);
            exit(1);
        }

        static void wait_for_ever(void) { for (;;) pause(); }

        // The finalizer of splitmix64. What is at an address follows from the address and the seed.
        static uint64_t mix(uint64_t x) {
            x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
            x = (x ^ x >> 27) * 0x94d049bb133111eb;
            return x ^ x >> 31;
        }

        static void fill(uint64_t *page, uint64_t seed) {
            for (int i = 0; i < 512; i++) page[i] = mix((uint64_t)&page[i] ^ seed);
        }

        // How many of the pages have their successor behind them in the guest's memory as well.
        static size_t neighbours(uint64_t start, size_t pages) {
            uint64_t *frames = malloc(pages * sizeof *frames);
            int map = open("/proc/self/pagemap", O_RDONLY);
            size_t found = 0, bytes = pages * sizeof *frames;
            if (!frames || map < 0) fail("pagemap");
            for (size_t done = 0; done < bytes;) {
                ssize_t count = pread(map, (char *)frames + done, bytes - done, (off_t)(start >> 12) * 8 + done);
                if (count <= 0) fail("pagemap");
                done += count;
            }
            close(map);
            for (size_t i = 1; i < pages; i++)
                found += ((frames[i] ^ (frames[i - 1] + 1)) & ((1ull << 55) - 1)) == 0;
            free(frames);
            return found;
        }

        static void memory(int huge, uint64_t start, size_t bytes, uint64_t seed) {
            size_t pages = bytes >> 12;
            void *place = mmap((void *)start, bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
            uint32_t *order = malloc(pages * sizeof *order);
            if (place != (void *)start || !order) fail("map");
            if (madvise(place, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE)) fail("madvise");
            for (size_t i = 0; i < pages; i++) order[i] = i;
            // Neighbours in the address space get their frames at different times.
            for (size_t i = pages - 1; i > 0 && !huge; i--) {
                size_t other = mix(seed + i) % (i + 1);
                uint32_t kept = order[i];
                order[i] = order[other];
                order[other] = kept;
            }
            for (size_t i = 0; i < pages; i++) fill((uint64_t *)(start + ((uint64_t)order[i] << 12)), seed);
            free(order);
            size_t found = neighbours(start, pages);
            if (huge ? found < pages / 100 * 95 : found > pages / 100 * 5) {
                fprintf(stderr, "%zu of %zu pages have their successor behind them in memory\\n", found, pages);
                exit(1);
            }
        }

        // One that has some areas and descriptors of each kind, as programs do.
        static void small(void) {
            int ends[2];
            for (int i = 0; i < 3; i++)
                if (open("bench", O_RDONLY) < 0 || open("/dev/null", O_RDWR) < 0) fail("open");
            if (pipe(ends) || socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) fail("pipe");
            for (int i = 0; i < 20; i++) {
                char *area = mmap(NULL, 3 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | (i % 2 ? MAP_ANONYMOUS : 0), i % 2 ? -1 : 3, 0);
                if (area == MAP_FAILED) fail("map");
                if (mprotect(area, 1 << 12, PROT_NONE)) fail("protect");
                area[1 << 12] = 1;
            }
        }

        int main(int argc, char **argv) {
            if (strcmp(argv[1], "processes")) {
                memory(!strcmp(argv[1], "huge"), strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
            } else {
                int count = atoi(argv[2]), done[2];
                char byte;
                if (pipe(done)) fail("pipe");
                for (int i = 0; i < count; i++) {
                    pid_t child = fork();
                    if (child < 0) fail("fork");
                    if (child) continue;
                    close(done[0]);
                    small();
                    if (write(done[1], "", 1) != 1) fail("write");
                    close(done[1]);
                    wait_for_ever();
                }
                close(done[1]);
                for (int i = 0; i < count; i++)
                    if (read(done[0], &byte, 1) != 1) fail("a process");
            }
            close(open("ready", O_CREAT | O_WRONLY, 0600));
            wait_for_ever();
        }

        """
}
