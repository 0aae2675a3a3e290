import Testing

@testable import xenpr_lab

@Suite struct ScaleReportTests {
    @Test func aLineGoesThroughPointsThatLieOnOne() {
        let line = ScaleReport.Line([(1, 5), (3, 9), (10, 23)])
        #expect(abs(line.start - 3) < 1e-9)
        #expect(abs(line.slope - 2) < 1e-9)
        #expect(abs(line.fit - 1) < 1e-9)
    }

    @Test func theFitSaysHowFarPointsAreFromTheLine() {
        let line = ScaleReport.Line([(0, 0), (1, 1), (2, 0), (3, 1)])
        #expect(line.fit > 0 && line.fit < 0.5)
    }

    @Test func thePlotHasAPanelForEachThingThatWasMeasured() {
        var report = ScaleReport()
        for count in [1, 10] {
            report.points.append(.init(thing: "threads", count: count, seconds: Double(count), peakBytes: 1, bytes: 1))
        }
        let script = report.plot(to: "scale.svg")
        #expect(script.contains("set xlabel \"threads\""))
        #expect(!script.contains("processes"))
        #expect(script.contains("1 1.0\n10 10.0\n"))
    }
}
