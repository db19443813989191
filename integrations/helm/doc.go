// Package helm takes Helm releases back to an absolute revision.
//
// It registers the inverse and change source "helm.release", which live in systems of
// type "kubernetes": a release is a set of objects in a cluster and a history of
// Secrets beside them, one a revision, which Helm numbers and never changes but for
// their status.
//
// The collector "helm.values" captures the history and the values of a release, and how
// values and manifest differ between two revisions.
//
// A state is the manifest of a revision, and its digest is taken over the manifest
// alone. Going back makes a new revision whose manifest is that of the old one, as
// "helm rollback" does; so states are compared by digest and never by number.
//
// The records are read and written with Helm's own storage, so that every Helm shows
// them. The rollback itself is not Helm's: that starts from whatever revision is the
// latest when it looks, overwrites what others have changed since, can not be told
// to stop, and begins anew when it was killed half way. Here the next revision is
// created, which the API server grants to exactly one of all that try; objects are
// then written only if nobody has touched them since before that moment, or while no
// newer revision exists; and who finds a revision that was begun for the same state
// completes it. Objects are merged three ways, as Helm merges them.
//
// It refuses to guess: a revision that has left the history, an object that belongs
// to somebody else, a change of Helm's that has not finished. It runs no hook, because
// nobody can tell whether one that was cut has had its effect. It deletes no revision,
// so that it needs no right to; the next upgrade keeps the limit of the history.
// Releases that Helm keeps in ConfigMaps or in a database are not found.
//
// Only integrations/install and programs that choose their vendors import it.
package helm
