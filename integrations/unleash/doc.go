// Package unleash connects Backout to Unleash.
//
// It registers the system type "unleash" and the inverse, change source and
// collector "flag.unleash": one flag in ONE environment of its project back to a
// state that it had: on or off, its activation strategies with their order, and
// its variants. Other environments are never touched.
//
// The history is the event log of the flag. A state is worked out backwards from
// what is there now: each event is taken back in turn, and only as long as what it
// says about the flag afterwards is what was found. Where the log does not explain
// the flag, such as behind an import, which replaces strategies and says nothing of
// it, the history ends, and a plan says so.
//
// Unleash has no condition for writing a whole flag. What it has is used: a
// strategy is changed by a JSON Patch that tests all of it, so that a newer change
// of the strategy is refused by the server. Between that test and the write lie two
// statements of the server's own. To turn a flag on or off, and to add, remove or
// sort strategies, no request takes a condition: there the window is the flight of
// one request after the flag was read. Behind every write the log is read again. If
// somebody else changed the flag in the window, Backout's own step is taken back,
// so that their change stands, and the action is refused.
//
// A rollback of several steps is not one transaction. It turns off first and on
// last. A retry finds out from the log how far it came and goes on from there; what
// is half done and was not done by Backout alone is drift.
//
// Constraints, parameters and variants may hold the names of users or secrets. They
// are read, compared and written back, and appear nowhere else; only the percentage
// of a rollout is told.
//
// Only integrations/install and programs that choose their vendors import it.
package unleash
