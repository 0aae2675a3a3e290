import Recovery
import Testing

@Suite struct XLConfigurationTests {
    @Test func valuesAreRead() {
        let file = XLConfiguration(
            """
            # a comment with on_crash = "destroy"
            name = "main"   # the guest
            type='pvh'; memory = 1024
            disk = [ "phy:/dev/vg/main,xvda,w", # on_crash = "restart"
                     'phy:/dev/vg/data,xvdb,w' ]
            on_crash="preserve"
            extra = "root=/dev/xvda ro \\"quoted\\" # no comment"
            """)
        #expect(file["name"] == "main")
        #expect(file["type"] == "pvh")
        #expect(file["memory"] == "1024")
        #expect(file["on_crash"] == "preserve")
        #expect(file["disk"] == nil)
        #expect(file["extra"] == "root=/dev/xvda ro \"quoted\" # no comment")
    }

    @Test(arguments: ["", "=", "[", "]", "on_crash", "on_crash =", "on_crash = \"pres", "on_crash = [", "a = \"\\"])
    func brokenFilesEndNothing(_ text: String) {
        #expect(XLConfiguration(text)["on_crash"] != "preserve")
    }

    @Test func aBrokenLineCostsOnlyItself() {
        let file = XLConfiguration("name = \"main\nwhat is this\non_crash = \"preserve\"\n")
        #expect(file["on_crash"] == "preserve")
    }

    @Test func theLastValueHolds() {
        #expect(XLConfiguration("on_crash = \"destroy\"\non_crash = \"preserve\"")["on_crash"] == "preserve")
    }

    @Test func everyTruncationEnds() {
        let text = "name = \"main\"\ndisk = [ 'a', # x\n 'b' ]\non_crash = \"preserve\" ; type = 'pvh'\n"
        for length in 0...text.utf8.count {
            _ = XLConfiguration(String(decoding: text.utf8.prefix(length), as: UTF8.self))
        }
    }
}
