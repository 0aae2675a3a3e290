import PlainJSON
import ProcessModel

extension RecoveryManifest {
    public var json: JSONValue {
        [
            "schema": .string(Self.schema), "id": .string(id), "guest": .string(guest), "kernel": .string(kernel),
            "cause": .string(cause),
            "crashed_at": .number(crashedAt), "salvaged_by": .string(salvagedBy.rawValue), "largest_pid": JSONValue(largestPID),
            "timeline": .array(timeline.map(\.json)), "groups": .array(groups.map(\.json)),
            "mount_points": .array(mountPoints.map { ["path": .string($0)] }),
            "memory_mounts": .array(memoryMounts.map(\.json)), "files": .array(files.map(\.json)),
            "directories": .array(
                directories.map {
                    ["path": .string($0.path), "inode": JSONValue($0.inode), "names": .array($0.names.map { .string($0) })]
                }),
            "removed": .array(removed.map { ["path": .string($0.path), "inode": $0.inode.map { JSONValue($0) } ?? .null] }),
            "gaps": .array(
                gaps.map {
                    [
                        "object": .string($0.object), "field": .string($0.field), "address": .string($0.address),
                        "reason": .string($0.reason),
                    ]
                }),
        ]
    }
}

extension RecoveryManifest.Format {
    public var json: JSONValue {
        [
            "name": .string(name), "registration": .array(registration.map { JSONValue($0) }), "enabled": .bool(isEnabled),
        ]
    }
}

extension RecoveryManifest.MemoryMount {
    public var json: JSONValue {
        [
            "path": .string(path), "source": .string(source), "options": .string(options), "flags": JSONValue(flags),
            "minor": JSONValue(minor),
        ]
    }
}

extension RecoveryManifest.Phase {
    public var json: JSONValue {
        [
            "phase": .string(name), "start": .number(start), "seconds": .number(seconds), "bytes": JSONValue(bytes),
            "pages": JSONValue(pages),
        ]
    }
}

extension RecoveryManifest.Group {
    public var json: JSONValue {
        [
            "name": .string(name), "cgroup": .string(cgroup), "verdict": .string(verdict.rawValue),
            "reasons": .array(reasons.map(JSONValue.string)), "images": JSONValue(images), "root_pid": JSONValue(rootPID),
            "no_huge_pages": .bool(disablesHugePages),
            "reserved_pages": .array(reservedPages.map { ["bytes": JSONValue($0.sizeBytes), "count": JSONValue($0.count)] }),
            "pid_namespace": .bool(hasPIDNamespace), "cgroup_namespace": JSONValue(cgroupRoot),
            "cgroups": .array(cgroups.map(\.json)),
            "mount_root": JSONValue(mountRoot), "mount_root_flags": mountRootFlags.map { JSONValue($0) } ?? .null,
            "overlay": overlay?.json ?? .null, "old_mounts": .bool(needsOldMounts),
            "mounts": .array(mounts.map { ["key": .string($0.key), "path": .string($0.path)] }),
            "required_mounts": .array(requiredMounts.map { ["path": .string($0)] }),
            "formats": .array(formats.map(\.json)),
            "required_devices": .array(
                requiredDevices.map { ["name": .string($0.name), "number": JSONValue($0.number)] }),
            "pseudo_terminals": .array(pseudoTerminals.map { JSONValue($0) }),
            "processes": .array(processes.map(\.json)), "bytes": JSONValue(bytes), "pages": JSONValue(pages),
            "sockets": .array(sockets.map(\.json)), "pipes": .array(pipes.map(\.json)),
            "lower_devices": .array(lowerDevices.map(\.json)),
            "lent_files": .array(lentFiles.map(\.json)),
            "images_group": imagesGroup.map { JSONValue($0) } ?? .null,
            "network_namespace": .bool(hasNetworkNamespace), "links": .array(links.map(\.json)),
            "network_settings": .array(networkSettings.map(\.json)),
            "inner_networks": .array(
                innerNetworks.map { network in
                    [
                        "pid": JSONValue(network.pid), "settings": .array(network.settings.map(\.json)),
                        "packet_filter": JSONValue(network.packetFilter),
                    ]
                }),
            "packet_filter": JSONValue(packetFilter),
            "connections": .array(
                connections.map { ["source": JSONValue($0.source), "destination": JSONValue($0.destination)] }),
        ]
    }
}

extension NetworkSetting {
    fileprivate var json: JSONValue { ["path": .string(path), "value": .string(value)] }
}

extension RecoveryManifest.Link {
    fileprivate var json: JSONValue {
        ["device": .string(device), "peer": peer.json, "bridge": bridge?.json ?? .null]
    }
}

extension RecoveryManifest.LowerDevice {
    fileprivate var json: JSONValue {
        ["device": .string(device), "lower": lower.json, "bridge": bridgeNumber.map { JSONValue($0) } ?? .null]
    }
}

extension RecoveryManifest.LinkEnd {
    fileprivate var json: JSONValue {
        [
            "name": .string(name), "up": .bool(isUp), "hardware_address": .string(hardwareAddress),
            "addresses": .array(addresses.map(JSONValue.string)), "mtu": mtu.map { JSONValue($0) } ?? .null,
        ]
    }
}

extension RecoveryManifest.Cgroup {
    fileprivate var json: JSONValue {
        [
            "path": .string(path), "controllers": .array(controllers.map(JSONValue.string)),
            "settings": .array(settings.map { ["name": .string($0.name), "value": .string($0.value)] }),
            // Numbers of 64 bits are more than what a reader of JSON can be trusted with.
            "device_filters": .array(
                deviceFilters.map { filter in
                    let instructions = filter.instructions.map { JSONValue.string(String($0, radix: 16)) }
                    return ["flags": JSONValue(filter.attachFlags), "instructions": .array(instructions)]
                }),
        ]
    }
}

extension RecoveryManifest.Overlay {
    fileprivate var json: JSONValue {
        [
            "lower": .array(lower.map { ["path": .string($0)] }), "upper": JSONValue(upper), "work": JSONValue(work),
            "options": .string(options),
        ]
    }
}

extension RecoveryManifest.Socket {
    fileprivate var json: JSONValue {
        let options = options.map { option -> JSONValue in
            [
                "name": .string(option.name), "level": JSONValue(option.level), "number": JSONValue(option.number),
                "value": option.value.json,
            ]
        }
        return ["pid": JSONValue(pid), "descriptor": JSONValue(descriptor), "options": .array(options)]
    }
}

extension LateSocketOption.Value {
    fileprivate var json: JSONValue {
        switch self {
        case .number(let number): JSONValue(number)
        case .text(let text): .string(text)
        }
    }
}

extension RecoveryManifest.LentFile {
    fileprivate var json: JSONValue {
        let kind =
            switch kind {
            // Of 64 bits, which a number of JSON does not have.
            case .semaphore(let counter): JSONValue.Member("semaphore", .string("\(counter)"))
            case .queue(let queue, let contents):
                JSONValue.Member(
                    "queue",
                    [
                        "name": .string("\(queue.name)"), "removed": .bool(queue.isRemoved), "inode": JSONValue(queue.inode),
                        "ipc_namespace": JSONValue(queue.ipcNamespace), "mode": JSONValue(queue.mode),
                        "uid": JSONValue(queue.uid),
                        "gid": JSONValue(queue.gid), "message_limit": JSONValue(queue.messageLimit),
                        "message_bytes": JSONValue(queue.messageBytes), "contents": .string(contents),
                        "notifies": .bool(queue.hasNotification),
                        "messages": .array(
                            queue.messages.map { ["priority": JSONValue($0.priority), "bytes": JSONValue($0.bytes.count)] }),
                    ])
            }
        return .object([JSONValue.Member("name", .string(name)), JSONValue.Member("flags", JSONValue(flags)), kind])
    }
}

extension RecoveryManifest.Pipe {
    fileprivate var json: JSONValue {
        let pieces = pieces.map { piece -> JSONValue in ["bytes": JSONValue(piece.byteCount), "packet": .bool(piece.isPacket)] }
        return [
            "pid": JSONValue(pid), "descriptor": JSONValue(descriptor), "contents": .string(contents), "pieces": .array(pieces),
        ]
    }
}

extension RecoveryManifest.Process {
    public var json: JSONValue {
        [
            "pid": JSONValue(pid), "command": .string(command), "verdict": .string(verdict.rawValue),
            "reasons": .array(reasons.map(JSONValue.string)), "memory_bytes": JSONValue(memoryBytes), "files": JSONValue(files),
            "sockets": JSONValue(sockets), "cgroup": JSONValue(cgroup), "threads": .array(threads.map(\.json)),
        ]
    }
}

extension RecoveryManifest.ThreadAttributes {
    public var json: JSONValue {
        [
            "tid": JSONValue(tid), "cpus": cpus.map { .array($0.map { JSONValue($0) }) } ?? .null,
            "timer_slack_ns": timerSlackNanoseconds.map { JSONValue($0) } ?? .null,
            "io_priority": ioPriority.map { JSONValue($0) } ?? .null,
            "coredump_filter": coredumpFilter.map { JSONValue($0) } ?? .null,
        ]
    }
}

extension RecoveryManifest.FileCatchUp {
    public var json: JSONValue {
        [
            "path": .string(path), "inode": JSONValue(inode), "size": JSONValue(size), "mode": JSONValue(mode),
            "uid": JSONValue(uid),
            "gid": JSONValue(gid), "content": JSONValue(content),
            "extents": .array(extents.map { [JSONValue($0.fileOffset), JSONValue($0.length), JSONValue($0.contentOffset)] }),
            "held": .bool(isHeld), "links": JSONValue(links), "whole": .bool(isWhole),
            "target": JSONValue(target), "other_name": JSONValue(otherName),
            "modified": modified?.json ?? .null, "accessed": accessed?.json ?? .null,
        ]
    }
}

extension FileTime {
    fileprivate var json: JSONValue { ["seconds": JSONValue(seconds), "nanoseconds": JSONValue(nanoseconds)] }
}
