// Package activities is all I/O of the workflows: it asks change sources,
// plans, resolves people, executes actions, captures evidence, measures
// recovery and talks to people.
//
// Every activity can be run again after it was killed at any point: effects
// are idempotent by a key that the workflow hands in, and what must never
// happen twice is guarded by the target's own state. The ledger is written
// inside the activity that has the effect, before it and after it; when the
// ledger can not be written, nothing is executed.
//
// Evidence is captured by collectors that run beside each other, what a rollback
// destroys first before the rest, each within its own time and all within one.
// What they find is redacted, cut where it is too long, and stored by its digest
// before the manifest is written into the ledger. After a rollback the manifest
// also lists how each readable document differs from the one before it. What could
// not be had is an item with the reason, never a gap.
//
// It may import workflows/incident, workflows/recovery, approvals, runbooks
// and integrations/driver; vendors are reached through the ports in ports.go.
package activities
