// Package workflows is the deterministic half of Backout: the Incident entity
// workflow, the Rollback it starts as a child, the TargetLock that keeps a
// second rollback away, the scheduled Reconcile and Recording, and the
// PostmortemFollowUp that outlives its incident and takes what people pin then.
//
// It does no I/O, reads no clock but the workflow's, and keeps no globals. A
// decision is recorded once and never computed again on replay. Activities are
// named by method reference only. It is imported by workflows/worker.
package workflows
