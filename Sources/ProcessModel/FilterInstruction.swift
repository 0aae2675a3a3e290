/// One instruction of classic BPF (`struct sock_filter` of include/uapi/linux/filter.h), in which socket filters and seccomp filters are given to the
/// kernel.
public struct FilterInstruction: Sendable, Hashable {
    public var code: UInt16
    public var jumpIfTrue: UInt8
    public var jumpIfFalse: UInt8
    public var operand: UInt32

    public init(code: UInt16, jumpIfTrue: UInt8 = 0, jumpIfFalse: UInt8 = 0, operand: UInt32 = 0) {
        self.code = code
        self.jumpIfTrue = jumpIfTrue
        self.jumpIfFalse = jumpIfFalse
        self.operand = operand
    }
}
