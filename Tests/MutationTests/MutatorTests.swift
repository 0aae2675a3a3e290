import GuestMemory
import Testing

@testable import Mutation

/// What a mutation run is made of, without a dump.
@Suite struct MutatorTests {
    @Test func theSameSeedAndNumberMakeTheSameNumbers() {
        var first = SeededRandom(seed: 3, index: 70)
        var again = SeededRandom(seed: 3, index: 70)
        var neighbour = SeededRandom(seed: 3, index: 71)
        var other = SeededRandom(seed: 4, index: 70)
        let numbers = (0..<8).map { _ in first.next() }
        #expect(numbers == (0..<8).map { _ in again.next() })
        #expect(numbers != (0..<8).map { _ in neighbour.next() })
        #expect(numbers != (0..<8).map { _ in other.next() })
    }

    @Test(arguments: [1, 2, 4, 8]) func valuesStayInTheirSize(size: Int) {
        let limit: UInt64 = size == 8 ? .max : 1 << UInt64(size * 8) - 1
        for index in 0..<200 {
            var random = SeededRandom(seed: 1, index: index)
            for kind in Mutation.Kind.allCases {
                let value = Mutator.value(
                    kind, of: limit / 3, size: size, pointers: [.max], earlier: [], place: .max, random: &random)
                #expect(value <= limit)
            }
        }
    }

    @Test func aBitIsOneBit() {
        for index in 0..<200 {
            var random = SeededRandom(seed: 1, index: index)
            let value = Mutator.value(.bit, of: 0x1234, size: 2, pointers: [], earlier: [], place: 0, random: &random)
            #expect((value ^ 0x1234).nonzeroBitCount == 1)
        }
    }

    @Test func pointersLeadWhereTheyShould() {
        var random = SeededRandom(seed: 1)
        func value(_ kind: Mutation.Kind) -> UInt64 {
            Mutator.value(kind, of: 5, size: 8, pointers: [7], earlier: [8], place: 9, random: &random)
        }
        #expect(value(.redirected) == 7)
        #expect(value(.cycle) == 8)
        #expect(value(.toItself) == 9)
    }

    @Test func onlyPointersAreRedirected() {
        for index in 0..<500 {
            var random = SeededRandom(seed: 1, index: index)
            let kind = Mutator.kind(for: 42, size: 8, random: &random)
            #expect(![.redirected, .cycle, .toItself, .learned].contains(kind))
        }
    }

    @Test func bytesAndValuesAgree() {
        #expect(Mutator.bytes(0x0102_0304, size: 4) == [4, 3, 2, 1])
        #expect(Mutator.value([4, 3, 2, 1][...]) == 0x0102_0304)
    }

    /// A long piece is cut along words, and the longest read of a place counts.
    @Test func readsAreNotedInPieces() {
        let recorder = ReadRecorder()
        recorder.note(VirtualAddress(0x1006), 12)
        recorder.note(VirtualAddress(0x1008), 4)
        #expect(recorder.sizes == [0x1006: 2, 0x1008: 8, 0x1010: 2])
    }

    @Test func readersKnowTheirGroups() {
        let readers: Readers = [.group(3), .files]
        #expect(readers.contains(group: 3))
        #expect(!readers.contains(group: 4))
        #expect(Readers.everyGroup.contains(group: 0) && Readers.everyGroup.contains(group: 61))
        #expect(!Readers.everyGroup.contains(.files))
        // Groups beyond the limit share a number, so that none is left out.
        #expect(Readers.group(200) == Readers.group(62))
        #expect(Readers.everyGroup.contains(group: 200))
    }
}
