// Package driver is the ports that a vendor implements, the registry of kinds,
// and the engine that every inverse runs on.
//
// An inverse is a pair of absolute states. The engine observes the target,
// applies, and observes again: already at "to" is success, neither "from" nor
// "to" is drift and a refusal. So a kind that keeps the laws of
// integrations/drivertest can be killed at any moment and tried again.
//
// A collector states which parameters it takes with RegisterParams, so that runbooks are
// refused when they are loaded and not in the middle of an incident; one that states
// nothing takes none.
//
// A vendor is a folder under integrations: it registers a system type (how to
// connect) once and each kind of inverse, change source, collector, probe, counter
// and recorder in a file of its own, from init. A vendor imports this package and
// workflows/incident, and never another vendor.
package driver
