import Foundation
import Testing

@testable import xenpr_lab

@Suite struct ZdtmTableTests {
    @Test func countsWhatStartsAndTellsWhyTheRestDoesNotPass() throws {
        let report = try JSONDecoder().decode(
            ZdtmReport.self,
            from: Data(
                """
                {"schema": "xenpr.zdtm/1", "on": "qemu", "flavor": "h", "kernel": "6.1", "criu": "3.17.1", "programs": [
                    {"name": "pipe00", "result": "passed", "verdict": "full", "message": "PASS"},
                    {"name": "poll", "result": "failed", "verdict": "full", "message": "14:02:07.848:  2217: FAIL: poll.c:129: it | was"},
                    {"name": "aio00", "result": "failed", "message": "process 9 is not there (refused: cannot be restored because of it; refused: 9 (aio00): it has I/O; more)"},
                    {"name": "bridge", "result": "failed", "message": "its init is not there (refused: it has a device br0; skipped: it has a device br0)"},
                    {"name": "rtc", "result": "unstarted", "message": "start exited with 1"}]}
                """.utf8))
        let text = ZdtmTable.text(of: [report])
        #expect(text.contains("**1 of 4** programs that start pass. 1 do not start"))
        #expect(text.contains("| poll | FAIL: poll.c:129: it / was |"))
        #expect(text.contains("| aio00 | refused: 9 (aio00): it has I/O |"))
        #expect(text.contains("| bridge | refused: it has a device br0 |"))
        #expect(text.contains("| rtc | start exited with 1 |"))
    }
}
