// swift-tools-version: 6.2
import PackageDescription

/// Every room is Swift 6 with strict memory safety, and a warning stops the build.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
]

/// What each target is built of, by its name.
nonisolated(unsafe) var parts: [String: [Target.Dependency]] = [:]

/// The dependencies, and theirs. The layout of a structure is part of whatever holds one, and `swift build` compiles a target anew only when one that it names itself
/// has changed: with less than all of them, old code meets new structures.
func whole(_ name: String, _ dependencies: [Target.Dependency]) -> [Target.Dependency] {
    var all: [Target.Dependency] = []
    var seen: Set<String> = []
    for dependency in dependencies {
        guard case .byNameItem(let part, _) = dependency else {
            all.append(dependency)
            continue
        }
        for each in [dependency] + parts[part, default: []] {
            guard case .byNameItem(let name, _) = each, seen.insert(name).inserted else { continue }
            all.append(each)
        }
    }
    parts[name] = all
    return all
}

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: whole(name, dependencies), swiftSettings: strict)
}

/// - Parameter standsAlone: it needs no library where it runs, as the first process of the minor, or the agent on any distribution.
func program(_ name: String, _ dependencies: [Target.Dependency], standsAlone: Bool = false) -> Target {
    .executableTarget(
        name: name, dependencies: whole(name, dependencies), swiftSettings: strict,
        linkerSettings: standsAlone ? [.unsafeFlags(["-static-executable"], .when(configuration: .release))] : [])
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: whole(name, dependencies), swiftSettings: strict)
}

let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let database: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let toml: Target.Dependency = .product(name: "TOMLKit", package: "TOMLKit")
let http: Target.Dependency = .product(name: "FlyingFox", package: "FlyingFox")

let package = Package(
    name: "xenpr",
    products: [
        .executable(name: "xenprd", targets: ["xenprd"]),
        .executable(name: "xenpr", targets: ["xenpr"]),
        .executable(name: "xenpr-minor", targets: ["xenpr-minor"]),
        .executable(name: "xenpr-agent", targets: ["xenpr-agent"]),
        .executable(name: "xenpr-lab", targets: ["xenpr-lab"]),
        .executable(name: "xenpr-fuzz", targets: ["xenpr-fuzz"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.4.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.8.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.5.0"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        .package(url: "https://github.com/swhitty/FlyingFox", from: "0.26.0"),
    ],
    targets: [
        // C: system modules and the thinnest shims; no logic.
        .target(
            name: "CXen",
            linkerSettings: [
                .linkedLibrary("xenctrl"), .linkedLibrary("xenforeignmemory"), .linkedLibrary("xenstore"),
                .linkedLibrary("xendevicemodel"), .linkedLibrary("xenevtchn"), .linkedLibrary("xengnttab"),
                .linkedLibrary("xencall"), .linkedLibrary("xentoolcore"), .linkedLibrary("xentoollog"),
            ]),
        .target(name: "CLinux"),
        .systemLibrary(
            name: "CCompression", providers: [.apt(["zlib1g-dev", "liblzo2-dev", "libsnappy-dev", "libzstd-dev"])]),
        // Apart from the others, for the minor is linked with it.
        .systemLibrary(name: "CZstd", providers: [.apt(["libzstd-dev"])]),

        // The memory of a guest, and where it comes from.
        room("GuestMemory"),
        room("DumpSource", ["GuestMemory", "CCompression"]),
        room("XenSource", ["GuestMemory", "CXen"]),
        room("GuestDisks", ["GuestMemory"]),

        // What the dead kernel's memory means.
        room("KernelTypes", ["GuestMemory"]),
        room("KernelObjects", ["KernelTypes"]),
        room("ProcessModel", ["GuestMemory"]),
        room("Decompression", ["CZstd"]),
        room("KernelProcesses", ["KernelObjects", "ProcessModel", "Decompression"]),

        // What is written for the next life of the processes.
        room("PlainJSON"),
        room("NetlinkMessages"),
        room("Checkpoint", ["ProcessModel", "GuestMemory", "PlainJSON", "NetlinkMessages", "CLinux"]),
        room("Salvage", ["KernelProcesses", "Checkpoint"]),
        // Checkpoints of two makers, compared; for tests and for people.
        room("ImageDiff", ["Checkpoint"]),

        // Damage done to a dead kernel's memory on purpose.
        room(
            "Mutation",
            ["Salvage", "KernelProcesses", "KernelObjects", "KernelTypes", "Checkpoint", "ProcessModel", "GuestMemory"]),

        // The Xen host, and a protected guest's life on it.
        room("XenControl", ["CXen"]),
        room("Recovery", [logging]),
        room("DaemonAPI", ["Recovery"]),
        room("Daemon", ["DaemonAPI", logging, lifecycle, database, http]),

        program(
            "xenprd",
            [
                "Daemon", "XenControl", "CLinux", logging, lifecycle, unixSignals, subprocess, system, toml, arguments,
            ]),
        program(
            "xenpr",
            [
                "Salvage", "ImageDiff", "DumpSource", "XenSource", "GuestDisks", "XenControl", "PlainJSON", "DaemonAPI",
                arguments, http,
                subprocess,
                system,
                toml,
            ]),
        program(
            "xenpr-minor",
            [
                "Salvage", "KernelProcesses", "KernelObjects", "GuestMemory", "GuestDisks", "PlainJSON", "XenSource",
                "XenControl",
                "CLinux",
            ], standsAlone: true),
        program("xenpr-agent", ["PlainJSON", "NetlinkMessages", "CLinux"], standsAlone: true),
        program("xenpr-lab", ["PlainJSON", arguments, logging, subprocess, system, toml]),

        program("xenpr-fuzz", ["Mutation", "DumpSource", arguments, subprocess, system]),

        .target(name: "SyntheticMemory", dependencies: ["GuestMemory"], path: "Tests/SyntheticMemory", swiftSettings: strict),
        tests("GuestMemoryTests", ["GuestMemory", "ProcessModel", "SyntheticMemory"]),
        tests("DumpSourceTests", ["DumpSource", "GuestDisks", "GuestMemory", "CCompression"]),
        tests("KernelTypesTests", ["KernelTypes", "SyntheticMemory"]),
        tests(
            "DumpTests",
            [
                "Salvage", "ImageDiff", "KernelProcesses", "Checkpoint", "DumpSource", "ProcessModel", "KernelObjects",
                "KernelTypes", "GuestMemory",
            ]),
        tests("DecompressionTests", ["Decompression", "CCompression"]),
        tests(
            "KernelProcessesTests",
            ["KernelProcesses", "KernelObjects", "KernelTypes", "GuestMemory", "ProcessModel", "SyntheticMemory"]),
        tests("KernelObjectsTests", ["KernelObjects", "SyntheticMemory"]),
        tests("MutationTests", ["Mutation", "GuestMemory", "SyntheticMemory"]),
        tests("CheckpointTests", ["Checkpoint", "ImageDiff", "ProcessModel", "GuestMemory", "PlainJSON", "NetlinkMessages"]),
        tests("AgentTests", ["xenpr-agent", "PlainJSON", "NetlinkMessages"]),
        tests("PlainJSONTests", ["PlainJSON"]),
        .target(
            name: "RecoverySimulator", dependencies: ["Recovery", logging], path: "Tests/RecoverySimulator",
            swiftSettings: strict),
        tests("XenprdTests", ["xenprd", "Recovery"]),
        tests("DaemonTests", ["Daemon", "RecoverySimulator", logging, http]),
        tests("LabTests", ["xenpr-lab"]),
        .testTarget(
            name: "RecoveryTests", dependencies: ["Recovery", "RecoverySimulator"], exclude: ["Scenarios"],
            swiftSettings: strict),
    ]
)
