package driver

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Counter counts in a database what a query finds.
type Counter interface {
	// Count asks one query, which reads and yields one row with one whole number from
	// zero up, and returns that number. It changes nothing. Anything else that the
	// query is or yields is an error wrapping ErrInvalid, and rows that the credential
	// may not see are one wrapping ErrDenied: what is not wholly seen is not counted.
	Count(ctx context.Context, query string) (int64, error)
}

var counters = map[string]portKind[Counter]{}

// RegisterCounter makes a kind of counter known. It panics on a duplicate.
func RegisterCounter[C any](kind, system string, open func(conn C) Counter) {
	mustBeNew(counters, kind)
	counters[kind] = portKind[Counter]{system: system, make: adapt(kind, open)}
}

// Counters lists the registered counters, sorted.
func Counters() []string { return slices.Sorted(maps.Keys(counters)) }

// Counter returns the one counter that a system's type has registered.
func (s *Set) Counter(system string) (Counter, error) {
	c, ok := s.conns[system]
	if !ok {
		return nil, fmt.Errorf("find counter on %q: %w: no such system", system, ErrInvalid)
	}
	for _, kind := range Counters() {
		if counters[kind].system == c.system.Type {
			return counters[kind].make(c.conn)
		}
	}
	return nil, fmt.Errorf("find counter on %q: %w: systems of type %q count nothing", system, ErrInvalid, c.system.Type)
}
