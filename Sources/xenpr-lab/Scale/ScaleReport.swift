import Foundation

/// How salvage grows with what is there (schema xenpr.scale/1). Times are in seconds.
struct ScaleReport: Codable, Sendable {
    /// One group salvaged alone out of the dump.
    struct Point: Codable, Sendable {
        var thing: String
        var count: Int
        /// The best of several runs of the whole program, with its start and the learning of the kernel's types.
        var seconds: Double
        /// The most memory that the program had resident.
        var peakBytes: Int
        /// Bytes that were written.
        var bytes: Int
    }

    var schema = "xenpr.scale/1"
    var points: [Point] = []

    private enum CodingKeys: String, CodingKey { case schema, points }

    /// A line through the points of one thing, by least squares.
    struct Line {
        /// Seconds, or bytes, of no thing at all and of each.
        var start: Double
        var slope: Double
        /// How much of the points' spread the line explains, at most 1.
        var fit: Double

        /// - Precondition: at least two different `x`.
        init(_ points: [(x: Double, y: Double)]) {
            let count = Double(points.count)
            let meanX = points.reduce(0) { $0 + $1.x } / count
            let meanY = points.reduce(0) { $0 + $1.y } / count
            let spreadX = points.reduce(0) { $0 + ($1.x - meanX) * ($1.x - meanX) }
            let spreadY = points.reduce(0) { $0 + ($1.y - meanY) * ($1.y - meanY) }
            let slope = points.reduce(0) { $0 + ($1.x - meanX) * ($1.y - meanY) } / spreadX
            let start = meanY - slope * meanX
            let missed = points.reduce(0) { $0 + ($1.y - start - slope * $1.x) * ($1.y - start - slope * $1.x) }
            self.slope = slope
            self.start = start
            fit = spreadY > 0 ? 1 - missed / spreadY : 1
        }
    }

    func line(_ thing: ScaleCase.Thing, _ value: (Point) -> Double) -> Line {
        Line(points.filter { $0.thing == thing.rawValue }.map { (Double($0.count), value($0)) })
    }

    var text: String {
        var lines = Summary.table(
            ["THING", "COUNT", "SECONDS", "PEAK", "WRITTEN"],
            points.map { point in
                [
                    point.thing, "\(point.count)", String(format: "%.3f", point.seconds), Summary.mebibytes(point.peakBytes),
                    Summary.mebibytes(point.bytes),
                ]
            })
        for thing in ScaleCase.Thing.allCases where points.contains(where: { $0.thing == thing.rawValue }) {
            let time = line(thing) { $0.seconds }
            let memory = line(thing) { Double($0.peakBytes) }
            lines.append(
                "\(thing.rawValue): \(String(format: "%.3f", time.start)) s + "
                    + "\(String(format: "%.1f", time.slope * 1e6)) µs for each (R² \(String(format: "%.3f", time.fit))); "
                    + "peak memory \(Summary.mebibytes(Int(memory.start))) + \(String(format: "%.1f", memory.slope / 1024)) KiB for each"
            )
        }
        return lines.joined(separator: "\n")
    }

    /// What gnuplot makes the plots of: a panel for each thing, with the measured points and the line through them.
    func plot(to file: String) -> String {
        let things = ScaleCase.Thing.allCases.filter { thing in points.contains { $0.thing == thing.rawValue } }
        var script = """
            set terminal svg size 1200,700 font "sans,12" background "white"
            set output "\(file)"
            set multiplot layout 2,3 title "Salvage of one group out of a dump"
            set key top left
            set ylabel "seconds"
            set yrange [0:*]
            set xtics rotate by -30

            """
        for thing in things {
            let line = line(thing) { $0.seconds }
            script += "set xlabel \"\(thing.rawValue)\"\n$data << END\n"
            for point in points where point.thing == thing.rawValue { script += "\(point.count) \(point.seconds)\n" }
            script +=
                "END\nplot $data with points pointtype 7 title \"measured\", \(line.start) + \(line.slope) * x title \"line\"\n"
        }
        return script + "unset multiplot\n"
    }
}
