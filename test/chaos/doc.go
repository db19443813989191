// Package chaos kills the real binary, without warning, at every event of a
// recorded rollback of a real key-value bucket, and at every boundary of its
// conversation with that bucket, and requires that nothing of it shows: the
// incident recovers, the target was changed exactly once, the ledger verifies,
// and there is one card, one incident and one postmortem.
//
// It has no code of its own besides its tests; the world that they live in is
// test/e2e/harness. Halting a process to look at what it has written needs a
// Unix, and a test binary without the race detector, which is too slow to look
// while anything is still as it was.
package chaos
