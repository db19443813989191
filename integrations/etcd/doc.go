// Package etcd connects Backout to etcd.
//
// It registers the system type "etcd" and, for single keys, the inverse, change
// source and collector "etcd.key": a key back to an absolute revision of the store's
// own history.
//
// A state of a key is its value, or that there is none. A rollback writes the old
// value as a new revision, in one transaction on condition that the key still has
// the modification revision that was observed; it never rewrites history. A lease
// that the key is attached to now stays attached.
//
// The store keeps history until it is compacted, and it keeps no times at all. So a
// plan that asks for the state before a moment, and the change source, need a clock:
// a key, named by clock_key in the settings, that somebody writes the time to every
// few seconds, such as
//
//	while sleep 5; do etcdctl put backout/clock "$(date -u +%FT%TZ)"; done
//
// Its own history says which revisions lie between two ticks. A revision is given
// the time of the tick before it and one nanosecond for each revision since, so that
// the order of times is that of revisions.
//
// Values may be secrets. They are read, compared and written back, and they appear
// nowhere else: not in a state, an error, a preflight or evidence. Only a value that
// is spelled like a version number is shown, as a label.
//
// It refuses to guess: a revision that was compacted away, a key that is at neither
// of the two states, a clock that does not reach back.
//
// Only integrations/install and programs that choose their vendors import it.
package etcd
