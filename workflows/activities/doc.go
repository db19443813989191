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
// It may import workflows/incident, workflows/recovery, approvals, runbooks
// and integrations/driver; vendors are reached through the ports in ports.go.
package activities
