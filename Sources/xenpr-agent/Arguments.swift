/// Options and operands of one subcommand, in the form `--name value` and `--flag`; "--" ends the options.
struct Arguments {
    private var values: [String: String] = [:]
    private var flags: Set<String> = []
    /// What follows the options.
    private(set) var operands: [String] = []

    /// - Parameters:
    ///   - words: the arguments after the subcommand.
    ///   - options: names (with the dashes) that take a value.
    ///   - flags: names that take none.
    init(_ words: [String], options: Set<String>, flags known: Set<String> = []) throws(AgentError) {
        var rest = words[...]
        while let word = rest.popFirst() {
            if word == "--" {
                operands += rest
                return
            }
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if known.contains(word) {
                flags.insert(word)
            } else if options.contains(word) {
                guard let value = rest.popFirst() else {
                    throw AgentError(description: "\(word) needs a value", exitCode: ExitCode.usage)
                }
                values[word] = value
            } else if parts.count == 2, options.contains(parts[0]) {
                values[parts[0]] = parts[1]
            } else if word.hasPrefix("-"), word != "-" {
                throw AgentError(description: "unknown option \(word)", exitCode: ExitCode.usage)
            } else {
                operands.append(word)
                operands += rest
                return
            }
        }
    }

    subscript(option: String) -> String? { values[option] }

    func has(_ flag: String) -> Bool { flags.contains(flag) }
}
