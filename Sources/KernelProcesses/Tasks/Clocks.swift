import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct timekeeper` (include/linux/timekeeper_internal.h) in the variable `tk_core` (kernel/time/timekeeping.c).
struct ClockLayout: Sendable {
    /// The type of `tk_core` has a name since 6.13 (commit c9bd83ed83a5); before, the timekeeper stood behind a 4-byte sequence counter.
    let timekeeper: Int
    let base, nanoseconds, shift: Field
    let seconds: Field
    let offsetReal, offsetBoot: Field

    init(_ types: TypeTable) throws(KernelError) {
        timekeeper = types.has("tk_data") ? try types.structure("tk_data").field("timekeeper").offset : 8
        let keeper = try types.structure("timekeeper")
        base = try keeper.field("tkr_mono.base")
        nanoseconds = try keeper.field("tkr_mono.xtime_nsec")
        shift = try keeper.field("tkr_mono.shift")
        seconds = try keeper.field("xtime_sec")
        offsetReal = try keeper.field("offs_real")
        offsetBoot = try keeper.field("offs_boot")
    }
}

extension DeadKernel {
    /// Nanoseconds by which the clocks are put forward.
    ///
    /// The timekeeper holds the time of the last tick, but a program can have read a later one from the vDSO: up to a tick
    /// later (10 ms with HZ=100), more when the host held the vCPU back. A clock may jump forward over the crash, never back.
    static let clockMargin: UInt64 = 20_000_000

    /// The guest's clocks when it stopped.
    public func clocks() throws(MemoryFault) -> GuestClocks {
        let fields = layout.clocks
        guard let core = manifest.symbols.addresses["tk_core"] ?? manifest.symbols.addresses["timekeeper_data"] else {
            throw MemoryFault(.damaged("no timekeeper"), at: .null)
        }
        let keeper = core + fields.timekeeper
        let shift = try reader.value(fields.shift, of: keeper)
        let base = try reader.value(fields.base, of: keeper)
        guard shift < 64, base < 1 << 62 else { throw MemoryFault(.damaged("timekeeper"), at: keeper) }
        let monotonic = base &+ (try reader.value(fields.nanoseconds, of: keeper) >> shift) &+ Self.clockMargin
        return GuestClocks(
            monotonicNanoseconds: monotonic,
            boottimeNanoseconds: monotonic &+ (try reader.value(fields.offsetBoot, of: keeper)),
            realtimeNanoseconds: monotonic &+ (try reader.value(fields.offsetReal, of: keeper)))
    }
}
