// Package openfeature connects Backout to the FeatureFlag objects of the OpenFeature
// operator, on systems of the type "kubernetes".
//
// It registers the inverse, change source, collector and recorder "flag.openfeature":
// ONE flag of a FeatureFlag object back to a captured state, with its switch, its variants, its
// default and its targeting. The other flags of the object are never touched, and a
// change of them meanwhile is no drift.
//
// Kubernetes keeps no history of these objects, so that the history is what the
// connection captured of them, as for "kubernetes.object": each state of the whole
// object is kept as a ControllerRevision beside it. A flag has a state of its own in
// each of those. What nobody captured can not be gone back to, and a plan says so.
//
// A write is one JSON Patch that tests for the flag as it was observed and replaces
// that alone. The state to leave is captured first.
//
// The values of variants, and what targeting says, may name customers. They are read,
// compared and written back, and appear nowhere else; only the switch and the name of
// the default variant are told.
//
// The package imports no other vendor: it names the interface of what it needs of a
// connection. Only integrations/install and programs that choose their vendors import
// it.
package openfeature
