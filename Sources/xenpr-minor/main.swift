import CLinux
import Glibc

// The first process of the minor kernel. Whatever goes wrong ends as state=failed with its reason, and the domain is
// turned off; should even that fail, the kernel panics at the end of its first process, which the console shows.
do {
    guard xpr_is_first_process() == 1 else {
        throw MinorFailure("this is the first process of a minor kernel and does nothing elsewhere")
    }
    try Modules.load()
    let link = try ControlLink()
    do {
        try Minor(link: link).serve()
    } catch {
        link.fail("\(error)")
    }
    Console.note("turning off")
    _ = xpr_power_off()
} catch {
    Console.note("failed: \(error)")
    if xpr_is_first_process() == 1 { _ = xpr_power_off() }
}
exit(1)
