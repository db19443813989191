// Package ledger is the append-only, hash-chained audit record in one SQLite
// file.
//
// Each entry carries the SHA-256 of its content, its number and the hash of
// the entry before it. Triggers refuse updates and deletions, and the newest
// number and hash are kept in a second file, "<path>.head", so that a
// truncated ledger is found as well. Verify names the first bad entry.
//
// Append returns only when the entry is on disk. It refuses to write to a
// ledger whose end does not agree with its head file: nothing is executed on
// top of a record that was tampered with. There is no way to change or remove
// an entry.
//
// The head file is brought up to the end of the ledger before each append and
// again after its commit, each time under SQLite's write lock. So after a
// crash it may be behind by exactly one entry, which the next append repairs;
// ahead, or further behind, is tampering. Who can write both files can rebuild
// the whole chain, or append to it: only a copy of Report.Head that is kept
// elsewhere shows that.
//
// A Relay keeps such a copy: it hands every entry to sinks, a FileSink or a signed
// WebhookSink, in order and at least once, and never delays nor fails an append.
// VerifyAgainst and VerifyHead hold the ledger against what was kept elsewhere.
// Export writes entries that open anywhere, and VerifyExport checks them without
// the ledger.
//
// Several processes may open the same file. The package imports
// workflows/incident and no other part of Backout; cmd and the wiring of
// activities import it.
package ledger
