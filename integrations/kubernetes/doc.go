// Package kubernetes connects Backout to Kubernetes clusters.
//
// It registers the system type "kubernetes"; the inverse and change source
// "kubernetes.workload" (a Deployment, StatefulSet or DaemonSet back to an absolute
// revision of its own history); the inverse and change source "kubernetes.object" (any
// other namespaced object back to a captured state); and three collectors of a
// workload: "kubernetes.logs" (what its containers wrote, the dying ones first),
// "kubernetes.describe" (its pods, revisions and events) and "kubernetes.diff" (what
// going back would change in the pod template).
//
// A state of a workload is its pod template, and the digest of a state is taken
// over the template alone: replica counts, pauses and annotations of the workload
// are not part of it, so that an autoscaler never looks like drift. A state of
// another object is all that it says but its metadata and its status. The content is
// read as the API server sends it and never through Go types, which would drop
// fields of a newer API server.
//
// Kubernetes keeps a history of workloads and of nothing else. A recorder keeps that
// of other objects, as ControllerRevisions beside them, whose data the API server
// lets nobody change. What nobody captured can not be gone back to, and a plan says
// so; the state that a rollback leaves is always captured first.
//
// A write is a JSON Patch that tests for the content that was observed and replaces
// it, in one step. Server-side apply would leave in place what another manager has
// added, and so could not restore a state.
//
// It refuses to guess: a revision that has left the history, a workload that would
// roll nothing out, a content that is neither the one to leave nor the one to reach.
// An inverse never scales, never deletes, and never asks for a resource version: status
// fields move it long after a rollout is done. It captures no Secret, tells no text of
// an object that may be one, and puts no environment value into evidence. Logs are what
// containers wrote: whoever stores them redacts them first.
//
// Only integrations/install and programs that choose their vendors import it.
package kubernetes
