// The room GuestMemory.
