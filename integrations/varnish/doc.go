// Package varnish connects Backout to Varnish by its management port.
//
// It registers the system type "varnish" and the inverse, change source and
// collector "edge.varnish": the configuration (VCL) that is in use back to one that
// is loaded still, and with it, where the target says so, a ban of what was cached
// under the other.
//
// The list of loaded VCLs is the history. A state is the name of one and the source
// that Varnish shows for it; a VCL that was discarded can not be gone back to. The
// list has no times, so that they are read from the names: varnishreload's, or those
// that the settings describe. A target is the active VCL, or a label, by which one
// Varnish serves several sites.
//
// Varnish has no compare-and-set. One batch of commands shows the state, switches,
// and shows the state again; Varnish runs what it has received at once before it
// turns to another session, so that the batch tells exactly what it has overwritten.
// A change of somebody else that arrives in the round trip before is put back at
// once, and the action refused: it was out of force for one round trip. A plan says
// so.
//
// A ban is a one-way door within a way that goes both ways: what it removes from the
// cache is fetched again, and does not come back with the swapped action, which bans
// too.
//
// The management port knows one secret, which may do everything. It has no
// encryption: what crosses it, sources of VCL included, wants a tunnel. The secret
// itself never crosses it. Sources may hold secrets: they are read, compared by
// digest and shown nowhere.
//
// Only integrations/install and programs that choose their vendors import it.
package varnish
