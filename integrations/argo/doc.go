// Package argo takes Rollouts of Argo Rollouts back, on the clusters that the system
// type "kubernetes" connects to.
//
// It registers the inverse and the change source "argo.rollout". A state is what is in
// force: the pod template that takes the traffic, and how it came to. There are two
// ways back, which lead to two states, so that a plan says which one it takes.
//
//   - Undo writes a template of the Rollout's own history into its specification.
//     The revision of that state is its number, such as "3".
//   - Abort stops an update that is not promoted yet: the stable revision takes all
//     traffic again, and the specification keeps the new one. The revision of that
//     state is the number of the stable one and how it came, such as "3-by-abort".
//
// A plan for a moment aborts where it can: that is what the project made for an
// emergency, it is the faster one, and it does not fight whoever deploys from Git. A
// plan for a revision does what the revision says. The inverse of an abort retries
// the update.
//
// The digest of a state is taken over the template that the ReplicaSet holds, without
// what the controller adds to it: in the specification the same template reads
// differently, because nobody fills in the defaults there. Which ReplicaSet belongs to
// the specification is the controller's to say. Until it has taken up a change, the
// state is unknown, and nothing is done.
//
// A write is a JSON Patch that tests for what was observed, template and progress of
// the update, and changes it, in one step.
//
// It refuses a Rollout that takes its template from another workload, one that is
// paused by its specification, and an abort of an update that is promoted meanwhile.
//
// Only integrations/install and programs that choose their vendors import it.
package argo
