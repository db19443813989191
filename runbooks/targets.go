package runbooks

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/backout/backout/workflows/incident"
)

// KindTarget is a target, and the kind of inverse or change source that it is
// named for.
type KindTarget struct {
	Kind   string
	Target incident.Target
}

// Targets lists what the runbooks name for certain kinds, as something to watch or
// to take back, for each service of the catalogue that they match. Each is there
// once, ordered by kind, system and path.
func Targets(all []*Runbook, c *Catalogue, kinds []string) ([]KindTarget, error) {
	var out []KindTarget
	add := func(kind string, t incident.Target) {
		if slices.Contains(kinds, kind) {
			out = append(out, KindTarget{Kind: kind, Target: t})
		}
	}
	for _, service := range c.Services() {
		for _, r := range Select(all, service.Name) {
			concrete, err := r.For(service.Name)
			if err != nil {
				return nil, fmt.Errorf("list targets: %w", err)
			}
			for _, w := range concrete.Changes {
				add(w.Source, w.Target)
			}
			for _, o := range concrete.Options {
				for _, a := range o.Actions {
					add(a.Kind, a.Target)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b KindTarget) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Target.System, b.Target.System), cmp.Compare(a.Target.Path, b.Target.Path))
	})
	return slices.Compact(out), nil
}
