import ArgumentParser

await XenPR.run()
