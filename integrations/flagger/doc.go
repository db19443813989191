// Package flagger takes the targets of Flagger's canaries back, on the clusters that
// the system type "kubernetes" connects to.
//
// It registers the inverse and the change source "flagger.canary". A canary of Flagger
// has two Deployments: the target, which people deploy to, and the primary, which
// serves and which Flagger alone writes: it copies the target's pod template there once
// an analysis has succeeded. A state is the pod template of the target, and its
// revision that of the target's own history, as for "kubernetes.workload", which does
// the reading and the writing here.
//
// What this kind knows beside that is Flagger. A plan for a moment looks into the
// history of the primary, because what was deployed to the target and failed its
// analysis never served. When the primary runs the wanted version, Flagger takes its
// return to the target for a rollback and begins no analysis. When it does not, the
// bad version was promoted, and going back is an analysis like any other; the plan says
// how long that takes and who is asked on the way. A rollback has settled when both
// Deployments run the version, whatever Flagger calls the phase that it is in.
//
// It refuses a canary that is not initialized, one whose target is no Deployment, and,
// while Flagger is suspended, a version that Flagger would have to promote. It changes
// neither the Canary nor the primary nor any route: skipAnalysis and suspend stay as
// whoever owns the Canary has set them.
//
// Only integrations/install and programs that choose their vendors import it.
package flagger
