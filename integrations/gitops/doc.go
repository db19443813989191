// Package gitops holds Argo CD and Flux, so that they do not undo a rollback.
//
// It registers the inverse, the change source and the collector "gitops.hold", which
// live in systems of type "kubernetes": a target is an Application of Argo CD, or a
// Kustomization or a HelmRelease of Flux. It is held when nothing applies Git any
// more, and Backout's annotations on it say for whom, why, since when and until when.
//
// A state is what the target says of its own reconciliation (spec.suspend, or
// spec.syncPolicy.automated), and whether Backout holds it. So a hold of somebody
// else is another state than one of Backout's: it is taken over only by a plan that
// says so, and put back as it was. What the target said before is kept in one of the
// annotations, so that it is resumed exactly as it was configured.
//
// A hold ends in two ways: by being resumed, which is the swapped action, or by
// people. It never ends by itself, since whatever is in Git then would be applied with
// nobody looking. It expires instead: from then on every plan, observation and list of
// changes says that it is overdue.
//
// It refuses to guess: no hold without an end, no resumption of what somebody else has
// suspended, no hold that an ApplicationSet would take away.
//
// Only integrations/install and programs that choose their vendors import it.
package gitops
