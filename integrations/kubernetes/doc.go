// Package kubernetes connects Backout to Kubernetes clusters.
//
// It registers the system type "kubernetes", the inverse and change source
// "kubernetes.workload" (a Deployment back to an absolute revision of its own
// history) and the collector "kubernetes.describe".
//
// A state of a workload is its pod template, and the digest of a state is taken
// over the template alone: replica counts, pauses and annotations of the workload
// are not part of it, so that an autoscaler never looks like drift. The content is
// read as the API server sends it and never through Go types, which would drop
// fields of a newer API server.
//
// It refuses to guess: a revision that has left the history, a paused workload, a
// template that is neither the one to leave nor the one to reach. It never scales,
// never deletes, and never asks for a resource version: status fields move it long
// after a rollout is done. It puts no environment value into evidence.
//
// Only integrations/install and programs that choose their vendors import it.
package kubernetes
