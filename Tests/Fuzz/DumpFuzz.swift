import Glibc
import GuestMemory

/// A dump: the input is a file.
private let file: Int32 = unsafe fileno(tmpfile())

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDump(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard ftruncate(file, 0) == 0, unsafe pwrite(file, data, size, 0) == size else { return 0 }
    guard let contents = try? DumpContents.of(DumpBytes(descriptor: file)) else { return 0 }
    let limit = contents.frames.frameLimit.rawValue
    let memory = CachedFrames(contents.frames)
    var page = [UInt8](repeating: 0, count: FrameNumber.size)
    unsafe page.withUnsafeMutableBytes { page in
        for number in [0, 1, 2, limit / 2, limit &- 1, limit] {
            let frame = FrameNumber(number)
            _ = try? unsafe memory.read(frame.address, into: UnsafeMutableRawBufferPointer(rebasing: page[..<8]))
            _ = try? unsafe contents.frames.read([frame][...], into: page)
        }
    }
    return 0
}
