import DaemonAPI

/// Why a request is not done, for people and for programs.
public struct Refusal: Error, Sendable, Equatable {
    /// HTTP status.
    public var status: Int
    /// Stable, for programs.
    public var code: String
    public var message: String
    public var nextStep: String?

    public init(_ status: Int, _ code: String, _ message: String, nextStep: String? = nil) {
        self.status = status
        self.code = code
        self.message = message
        self.nextStep = nextStep
    }

    var document: Schema<ErrorDocument> {
        Schema("xenpr.error/1", ErrorDocument(code: code, message: message, nextStep: nextStep))
    }
}
