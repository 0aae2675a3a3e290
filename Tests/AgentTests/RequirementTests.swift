import Testing

@testable import xenpr_agent

@Suite struct RequirementTests {
    @Test func mountPointsAreReadWithTheirSpaces() {
        let text = """
            22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
            30 22 0:27 / /srv/a\\040mount rw - tmpfs tmpfs rw
            31 22 0:28 / /srv/odd\\9\\ rw - tmpfs tmpfs rw
            broken
            """
        #expect(GroupRestore.mountPoints(in: text) == ["/", "/srv/a mount", "/srv/odd\\9\\"])
    }
}
