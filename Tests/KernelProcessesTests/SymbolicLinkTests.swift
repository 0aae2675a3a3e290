import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

@Suite struct SymbolicLinkTests {
    private func target(size: UInt64, text: String?) throws -> KernelString? {
        let kernel = try SyntheticKernel()
        let inode = kernel.inode(mode: 0o120777)
        kernel.set(kernel.layout.files.inode.size, of: inode, to: size)
        if let text {
            let place = kernel.object()
            let bytes = Array(text.utf8)
            for (index, start) in stride(from: 0, to: bytes.count, by: 8).enumerated() {
                let word = bytes[start..<min(start + 8, bytes.count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
                kernel.memory.place([word], at: place + index * 8)
            }
            kernel.set(kernel.layout.files.inode.link, of: inode, to: place.rawValue)
        }
        let walk = FilesystemWalk(kernel: kernel.dead.reader, layout: kernel.layout.files)
        let frames = FrameTable(kernel: kernel.dead.reader, layout: kernel.layout.files.pages)
        return try walk.target(ofLink: inode, frames: frames)
    }

    @Test func shortTargetsAreStringsOfTheKernels() throws {
        #expect(try target(size: 9, text: "/usr/bin/") == "/usr/bin/")
        #expect(try target(size: 12, text: "/usr/bin/") == "/usr/bin/", "a string ends where it ends")
        #expect(try target(size: 4, text: "/usr/bin/") == "/usr")
    }

    @Test func whatNoPathCanBeIsNone() throws {
        #expect(try target(size: 0, text: "/usr") == nil)
        #expect(try target(size: 4096, text: "/usr") == nil)
    }
}
