import Foundation

/// A check of the emulator by computing what is known: hashes, a sort, and JSON and floating point on the way to text and back.
///
/// The lab's host computes the truth. A guest that comes to another result has been failed by the emulator, not by XenPR.
enum SelfCheck {
    private static let program = """
        import hashlib, json, random, subprocess, sys
        rounds = int(sys.argv[1])
        draw = random.Random(20110901)
        data = draw.randbytes(1 << 20)
        lines = "".join(f"{draw.getrandbits(48):x}\\n" for _ in range(20000)).encode()
        table = {str(i): [draw.random(), draw.getrandbits(60), "x" * (i % 50)] for i in range(3000)}
        def compute():
            digest = hashlib.sha256(hashlib.md5(data).digest() + hashlib.sha256(data).digest())
            digest.update(subprocess.run(["sort"], input=lines, stdout=subprocess.PIPE, env={"LC_ALL": "C"}, check=True).stdout)
            digest.update(subprocess.run(["md5sum"], input=data, stdout=subprocess.PIPE, check=True).stdout)
            digest.update(json.dumps(json.loads(json.dumps(table)), sort_keys=True).encode())
            return digest.hexdigest()
        print(" ".join(sorted({compute() for _ in range(rounds)})))
        """

    static let rounds = 2

    /// Computes in the given place and returns what came out, which is one word if all rounds agreed.
    static func compute(in shell: any Shell) async throws -> String {
        try await shell.require("exec python3 - \(rounds)", input: program, timeout: .seconds(600))
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
