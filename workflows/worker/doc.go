// Package worker registers Backout's workflows and activities, connects to
// Temporal with encrypted payloads, and keeps the schedule of reconciliation.
//
// It does not start a Temporal server: workflows/worker/embedded does, and is
// linked into the single binary only.
package worker
