import GuestMemory
import KernelObjects
import KernelTypes
import SyntheticMemory
import Testing

@testable import KernelProcesses

/// Marks of inotify and fanotify in a dead kernel that may lie.
@Suite struct NotifyMarkTests {
    let memory = SyntheticMemory()
    let layout: NotifyLayout
    let group = VirtualAddress(0xffff_8880_0001_0000)
    let mark = VirtualAddress(0xffff_8880_0001_1000)
    let connector = VirtualAddress(0xffff_8880_0001_2000)
    let inode = VirtualAddress(0xffff_8880_0001_3000)

    init() throws {
        var types = SyntheticTypes()
        let word = types.integer("unsigned int", size: 4)
        let long = types.integer("unsigned long", size: 8)
        let pointer = types.pointer(to: word)
        let list = types.structure("list_head", size: 16, [("next", pointer, 0), ("prev", pointer, 8)])
        _ = types.structure("fsnotify_group", size: 32, [("q_len", word, 0), ("marks_list", list, 8)])
        _ = types.structure(
            "fsnotify_mark", size: 40,
            [("mask", word, 0), ("g_list", list, 8), ("connector", pointer, 24), ("flags", word, 32)])
        _ = types.structure("fsnotify_mark_connector", size: 16, [("type", word, 0), ("obj", pointer, 8)])
        _ = types.structure("inode", size: 64, [("i_ino", long, 0), ("i_fsnotify_marks", pointer, 40)])
        layout = try NotifyLayout(try TypeTable(btf: types.bytes))
        memory.place([0, (mark + 8).rawValue, (mark + 8).rawValue], at: group)
        memory.place([8, (group + 8).rawValue, (group + 8).rawValue, connector.rawValue], at: mark)
        memory.place([0, inode.rawValue], at: connector)
        memory.place([7, 0, 0, 0, 0, connector.rawValue], at: inode)
    }

    var reader: KernelReader {
        KernelReader(memory: VirtualMemory(source: memory, tables: memory.tables), symbols: SymbolTable(addresses: [:]))
    }

    @Test func findsMarksAndTheirObjects() throws {
        #expect(try reader.marks(ofGroup: group, layout) == [mark])
        #expect(try reader.inode(ofMark: mark, layout) == inode)
        // As before Linux 6.10.
        memory.place([0, (inode + 40).rawValue], at: connector)
        #expect(try reader.inode(ofMark: mark, layout) == inode)
    }

    @Test func aListThatRunsInACircleEnds() {
        memory.place([8, (mark + 8).rawValue, (mark + 8).rawValue], at: mark)
        #expect(throws: MemoryFault.self) { try reader.marks(ofGroup: group, layout) }
    }

    @Test func anObjectThatDoesNotPointBackIsNoObject() {
        memory.place([7, 0, 0, 0, 0, group.rawValue], at: inode)
        #expect(throws: MemoryFault.self) { try reader.inode(ofMark: mark, layout) }
        memory.place([0, 0xdead_0000_0000_0100], at: connector)
        #expect(throws: MemoryFault.self) { try reader.inode(ofMark: mark, layout) }
    }
}
