import ProcessModel

/// The keeper is the root of a group that `xenpr-agent run` started: it waits for the others and does nothing else.
extension DeadProcess {
    /// What the keeper calls itself (`Keeper` of xenpr-agent).
    var hasKeepersName: Bool { command == "xenpr-keeper" }

    /// - Parameter root: the root of the group's tree.
    func isKeeper(of root: DeadProcess?) -> Bool { pid == root?.pid && hasKeepersName }
}
