import Glibc

// Runs in main: starts protected work in groups, and brings the groups back after the kernel under them has died.

let usage = """
    usage: xenpr-agent run --group NAME [--cwd DIR] [--log FILE] [--attach] -- COMMAND [ARGUMENT…]
           xenpr-agent reserve
           xenpr-agent restore
           xenpr-agent report [--format table|json]

    run      starts COMMAND in the protected group NAME, waits for it and exits as it did
             --log FILE  standard output and standard error go to FILE, standard input is /dev/null
             --attach    when the group already runs, for it was restored, wait for its end instead
    reserve  keeps the PIDs of protected processes out of reach of the early boot
    restore  brings back what the recovery volume holds; run by xenpr-agent.service at boot
    report   prints what the last restore did
    """

func runAgent(_ words: [String]) throws(AgentError) -> Int32 {
    let rest = Array(words.dropFirst())
    switch words.first {
    case "run":
        let arguments = try Arguments(rest, options: ["--group", "--cwd", "--log"], flags: ["--attach"])
        guard let text = arguments["--group"] else {
            throw AgentError(description: "run needs --group NAME", exitCode: ExitCode.usage)
        }
        guard let name = GroupName(text) else {
            throw AgentError(
                description: "\"\(text)\" cannot be a group's name: 1 to 64 characters A-Z a-z 0-9 . _ -, not . or ..",
                exitCode: ExitCode.usage)
        }
        guard !arguments.operands.isEmpty else {
            throw AgentError(description: "run needs a command after --", exitCode: ExitCode.usage)
        }
        let command = Command(arguments: arguments.operands, workingDirectory: arguments["--cwd"], log: arguments["--log"])
        return try RunCommand(group: name, command: command, attach: arguments.has("--attach")).run()
    case "reserve":
        _ = try Arguments(rest, options: [])
        printError("PIDs start after \(try PIDFloor.raise())")
        return ExitCode.done
    case "restore":
        _ = try Arguments(rest, options: [])
        return try RestoreCommand().run()
    case "report":
        let format = try Arguments(rest, options: ["--format"])["--format"] ?? "table"
        guard format == "table" || format == "json" else {
            throw AgentError(description: "--format is table or json", exitCode: ExitCode.usage)
        }
        return try ReportCommand(asJSON: format == "json").run()
    case "help", "--help", "-h":
        printOut(usage)
        return ExitCode.done
    default:
        printError(usage)
        return ExitCode.usage
    }
}

do throws(AgentError) {
    if CommandLine.arguments.count == 1, CompletionHook.isCalled { exit(try CompletionHook.run()) }
    exit(try runAgent(Array(CommandLine.arguments.dropFirst())))
} catch {
    printError("error: \(error)")
    exit(error.exitCode)
}
