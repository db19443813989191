package driver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/backout/backout/workflows/incident"
)

// System is one configured connection, such as a cluster.
type System struct {
	// Name is what targets call it.
	Name string
	// Type is the registered system type, such as "kubernetes".
	Type string
	// Decode fills the vendor's settings struct strictly: unknown keys are
	// errors.
	Decode func(into any) error
}

// Descriptor says what a kind is, for people and for the conformance suite.
type Descriptor struct {
	// Kind is the registered name, such as "nats.kv".
	Kind string
	// System is the system type that the kind lives in, such as "nats".
	System string
	// Layer is the row of the table of kinds, such as "Kubernetes workload".
	Layer string
	// TargetForm shows how a path is spelled, such as "<bucket>/<key>".
	TargetForm string
	// Forms are the forms of a target that the kind treats apart, each of which has
	// a case of its own in the law suite, such as "StatefulSet". None means that all
	// targets are alike.
	Forms []string
	// Reversible says that the inverse of the inverse is the swapped action.
	Reversible bool
	// OneWay says, for people, which targets of a reversible kind have no way back
	// all the same, such as "a deployment that failed"; each plan says it of its own
	// target. Empty means that all have one. Of another kind it says why none has.
	OneWay string
	// WontRevert lists what the kind never reverts, for people.
	WontRevert []string
	// Permission is the least that the credential needs, as a rule, a scope or
	// a grant.
	Permission string
}

type systemType struct {
	open func(ctx context.Context, s System) (any, error)
}

type inverseKind struct {
	desc Descriptor
	make func(conn any) (Inverse, error)
}

type portKind[P any] struct {
	system string
	make   func(conn any) (P, error)
}

// The registry is filled by init functions only and read afterwards.
var (
	systemTypes = map[string]systemType{}
	inverses    = map[string]inverseKind{}
	sources     = map[string]portKind[ChangeSource]{}
	collectors  = map[string]portKind[Collector]{}
	probes      = map[string]portKind[Probe]{}
	recorders   = map[string]portKind[Recorder]{}
)

// RegisterSystem makes a system type known. C is the vendor's connection; if
// it is an io.Closer it is closed with the Set. It panics on a duplicate.
func RegisterSystem[C any](systemTypeName string, open func(ctx context.Context, s System) (C, error)) {
	mustBeNew(systemTypes, systemTypeName)
	systemTypes[systemTypeName] = systemType{open: func(ctx context.Context, s System) (any, error) { return open(ctx, s) }}
}

// RegisterInverse makes a kind of inverse known. It panics on a duplicate.
func RegisterInverse[C any](d Descriptor, open func(conn C) Inverse) {
	mustBeNew(inverses, d.Kind)
	inverses[d.Kind] = inverseKind{desc: d, make: adapt(d.Kind, open)}
}

// RegisterSource makes a kind of change source known. It panics on a
// duplicate.
func RegisterSource[C any](kind, system string, open func(conn C) ChangeSource) {
	mustBeNew(sources, kind)
	sources[kind] = portKind[ChangeSource]{system: system, make: adapt(kind, open)}
}

// RegisterCollector makes a kind of collector known. It panics on a duplicate.
func RegisterCollector[C any](kind, system string, open func(conn C) Collector) {
	mustBeNew(collectors, kind)
	collectors[kind] = portKind[Collector]{system: system, make: adapt(kind, open)}
}

// RegisterProbe makes a kind of probe known. It panics on a duplicate.
func RegisterProbe[C any](kind, system string, open func(conn C) Probe) {
	mustBeNew(probes, kind)
	probes[kind] = portKind[Probe]{system: system, make: adapt(kind, open)}
}

// RegisterRecorder makes the recorder of a kind of inverse known. It panics on a
// duplicate.
func RegisterRecorder[C any](kind, system string, open func(conn C) Recorder) {
	mustBeNew(recorders, kind)
	recorders[kind] = portKind[Recorder]{system: system, make: adapt(kind, open)}
}

func mustBeNew[V any](m map[string]V, name string) {
	if _, dup := m[name]; dup || name == "" {
		panic(fmt.Sprintf("driver: kind %q is empty or registered twice", name))
	}
}

func adapt[C, P any](kind string, open func(conn C) P) func(conn any) (P, error) {
	return func(conn any) (P, error) {
		c, ok := conn.(C)
		if !ok {
			var none P
			return none, fmt.Errorf("open %q: connection is a %T", kind, conn)
		}
		return open(c), nil
	}
}

// Kinds returns the descriptors of all registered inverses, ordered by kind.
func Kinds() []Descriptor {
	out := make([]Descriptor, 0, len(inverses))
	for _, k := range slices.Sorted(maps.Keys(inverses)) {
		out = append(out, inverses[k].desc)
	}
	return out
}

// Describe returns the descriptor of a kind.
func Describe(kind string) (Descriptor, bool) {
	k, ok := inverses[kind]
	return k.desc, ok
}

// SystemTypes lists the registered system types, sorted.
func SystemTypes() []string { return slices.Sorted(maps.Keys(systemTypes)) }

// Known reports whether a name is registered as an inverse, change source,
// collector or probe, for lint.
func Known() (inverse, source, collector, probe []string) {
	return slices.Sorted(maps.Keys(inverses)), slices.Sorted(maps.Keys(sources)),
		slices.Sorted(maps.Keys(collectors)), slices.Sorted(maps.Keys(probes))
}

// SystemOf is the type of system that an inverse, change source, collector, probe or
// counter lives in; empty for a name that is not registered.
func SystemOf(kind string) string {
	if k, ok := inverses[kind]; ok {
		return k.desc.System
	}
	return cmp.Or(sources[kind].system, collectors[kind].system, probes[kind].system, counters[kind].system)
}

// Recorded lists the kinds of inverse whose states a recorder keeps, sorted.
func Recorded() []string { return slices.Sorted(maps.Keys(recorders)) }

// Set is the connected systems of one process.
type Set struct {
	conns map[string]connection
	order []string
}

type connection struct {
	system System
	conn   any
}

// Open connects to every system. On an error everything opened so far is
// closed again.
func Open(ctx context.Context, systems []System) (*Set, error) {
	set := &Set{conns: make(map[string]connection, len(systems))}
	for _, s := range systems {
		t, ok := systemTypes[s.Type]
		if !ok {
			return nil, errors.Join(fmt.Errorf("open system %q: unknown type %q, known are %v", s.Name, s.Type, slices.Sorted(maps.Keys(systemTypes))), set.Close())
		}
		if _, dup := set.conns[s.Name]; dup || s.Name == "" {
			return nil, errors.Join(fmt.Errorf("open system %q: the name is empty or used twice", s.Name), set.Close())
		}
		conn, err := t.open(ctx, s)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open system %q: %w", s.Name, err), set.Close())
		}
		set.conns[s.Name] = connection{system: s, conn: conn}
		set.order = append(set.order, s.Name)
	}
	return set, nil
}

// Close closes every connection, in the reverse order of opening.
func (s *Set) Close() error {
	var errs []error
	for _, name := range slices.Backward(s.order) {
		if c, ok := s.conns[name].conn.(io.Closer); ok {
			if err := c.Close(); err != nil {
				errs = append(errs, fmt.Errorf("close system %q: %w", name, err))
			}
		}
	}
	s.order = nil
	return errors.Join(errs...)
}

// Systems lists the names of the connected systems, in the order opened.
func (s *Set) Systems() []string { return slices.Clone(s.order) }

// Inverse returns the inverse of a kind on a system.
func (s *Set) Inverse(kind, system string) (Inverse, error) {
	k, ok := inverses[kind]
	if !ok {
		return nil, fmt.Errorf("find inverse %q: %w: no such kind", kind, ErrInvalid)
	}
	conn, err := s.connection(kind, k.desc.System, system)
	if err != nil {
		return nil, err
	}
	return k.make(conn)
}

// Source returns the change source of a kind on a system.
func (s *Set) Source(kind, system string) (ChangeSource, error) {
	return find(s, sources, kind, system)
}

// Collector returns the collector of a kind on a system.
func (s *Set) Collector(kind, system string) (Collector, error) {
	return find(s, collectors, kind, system)
}

// Recorder returns the recorder of a kind on a system.
func (s *Set) Recorder(kind, system string) (Recorder, error) {
	return find(s, recorders, kind, system)
}

// Probe returns the one probe that a system's type has registered.
func (s *Set) Probe(system string) (Probe, error) {
	c, ok := s.conns[system]
	if !ok {
		return nil, fmt.Errorf("find probe on %q: %w: no such system", system, ErrInvalid)
	}
	for _, kind := range slices.Sorted(maps.Keys(probes)) {
		if probes[kind].system == c.system.Type {
			return probes[kind].make(c.conn)
		}
	}
	return nil, fmt.Errorf("find probe on %q: %w: systems of type %q measure nothing", system, ErrInvalid, c.system.Type)
}

func find[P any](s *Set, kinds map[string]portKind[P], kind, system string) (P, error) {
	var none P
	k, ok := kinds[kind]
	if !ok {
		return none, fmt.Errorf("find %q: %w: no such kind", kind, ErrInvalid)
	}
	conn, err := s.connection(kind, k.system, system)
	if err != nil {
		return none, err
	}
	return k.make(conn)
}

func (s *Set) connection(kind, wantType, system string) (any, error) {
	c, ok := s.conns[system]
	if !ok {
		return nil, fmt.Errorf("find %q on %q: %w: no such system", kind, system, ErrInvalid)
	}
	if c.system.Type != wantType {
		return nil, fmt.Errorf("find %q on %q: %w: the system is of type %q, want %q", kind, system, ErrInvalid, c.system.Type, wantType)
	}
	return c.conn, nil
}

// Reach shows that a system answers and takes the credential.
func (s *Set) Reach(ctx context.Context, system string) error {
	c, ok := s.conns[system]
	if !ok {
		return fmt.Errorf("reach %q: %w: no such system", system, ErrInvalid)
	}
	r, ok := c.conn.(Reacher)
	if !ok {
		return fmt.Errorf("reach %q: %w: systems of type %q can not be asked", system, ErrInvalid, c.system.Type)
	}
	if err := r.Reach(ctx); err != nil {
		return fmt.Errorf("reach %q: %w", system, err)
	}
	return nil
}

// Check reports what makes a target unfit for a kind: an unknown kind, an
// unknown system or one of another type.
func (s *Set) Check(kind string, t incident.Target) error {
	_, err := s.Inverse(kind, t.System)
	return err
}
