import ProcessModel
import Testing

@testable import Checkpoint

/// Where processes come back among the cgroups of their group.
struct GroupCgroupsTests {
    private func group(_ cgroups: [ControlGroup], worker: KernelString = "/xenpr/sample") -> ProtectedGroup {
        var sample = SyntheticGroup()
        sample.group.cgroups = cgroups
        for index in sample.group.processes.indices where sample.group.processes[index].pid == SyntheticGroup.worker {
            sample.group.processes[index].cgroupPath = worker
        }
        return sample.group
    }

    @Test func processesComeBackInTheirCgroup() {
        let record = GroupCheckpoint.assess(
            group([ControlGroup(path: "/xenpr/sample"), ControlGroup(path: "/xenpr/sample/a/b")], worker: "/xenpr/sample/a/b"))
        #expect(record.verdict == .full)
        #expect(record.cgroups.map(\.path) == ["", "a/b"])
        #expect(record.processes.first { $0.pid == SyntheticGroup.worker }?.cgroup == "a/b")
        #expect(record.processes.filter { $0.pid != SyntheticGroup.worker }.allSatisfy { $0.cgroup == nil })
        #expect(record.cgroupRoot == nil)
    }

    @Test(arguments: ["/xenpr/sample/unread", "/xenpr/sample2", "/"] as [KernelString])
    func aCgroupThatWasNotReadIsSaid(path: KernelString) {
        let record = GroupCheckpoint.assess(group([ControlGroup(path: "/xenpr/sample")], worker: path))
        #expect(record.verdict == .degraded)
        #expect(record.reasons == ["processes of cgroup \(path) are in /xenpr/sample now"])
    }

    @Test(arguments: [[0xff], [0x41, 0x0a]] as [[UInt8]])
    func aNameThatCannotBeKeptIsSaid(name: [UInt8]) {
        let path = KernelString(bytes: Array("/xenpr/sample/".utf8) + name)
        let record = GroupCheckpoint.assess(group([ControlGroup(path: "/xenpr/sample"), ControlGroup(path: path)]))
        #expect(record.verdict == .degraded)
        #expect(record.cgroups.map(\.path) == [""])
    }

    @Test(arguments: [("/xenpr/sample/a", Verdict.full), ("/xenpr/sample/b/c", .degraded)] as [(KernelString, Verdict)])
    func whatWasFrozenRunsForAMoment(path: KernelString, verdict: Verdict) {
        var frozen = ControlGroup(path: "/xenpr/sample/b")
        frozen.settings = [.init("cgroup.freeze", "1")]
        let cgroups = [ControlGroup(path: "/xenpr/sample"), ControlGroup(path: "/xenpr/sample/a"), frozen]
        let record = GroupCheckpoint.assess(group(cgroups + [ControlGroup(path: "/xenpr/sample/b/c")], worker: path))
        #expect(record.verdict == verdict)
        #expect(record.cgroups.map(\.path) == ["", "a", "b", "b/c"])
    }

    @Test func theManifestKeepsAllOfIt() throws {
        var cgroup = ControlGroup(path: "/xenpr/sample")
        cgroup.controllers = ["cpu", "memory"]
        cgroup.settings = [.init("memory.max", "4096"), .init("cpu.max", "max 50000")]
        cgroup.deviceFilters = [.init(instructions: [0xffff_ffff_ffff_ffff, 0x95], attachFlags: 2)]
        var manifest = RecoveryManifest(
            id: "r", guest: "g", kernel: "k", cause: "c", crashedAt: 1, salvagedBy: .minor)
        let other = ControlGroup(path: "/xenpr/sample/a")
        manifest.groups = [GroupCheckpoint.assess(group([cgroup, other], worker: other.path))]
        #expect(try RecoveryManifest(json: manifest.json) == manifest)
        #expect(manifest.groups[0].cgroups[0].deviceFilters == cgroup.deviceFilters)
    }
}
