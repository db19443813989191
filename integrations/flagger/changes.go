package flagger

import (
	"context"
	"fmt"
	"slices"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(c cluster) driver.ChangeSource { return changes{c} })
}

// changes reads what the history of the target says about its deploys.
type changes struct{ cluster cluster }

// Changes lists the moments at which a template was deployed to the target. When, and
// whether, Flagger promoted it is not among them: from its first check on it may have
// had traffic.
func (s changes) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	ref, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	c, err := readCanary(ctx, s.cluster, ref)
	if err != nil {
		return nil, fmt.Errorf("read changes of %s: %w", q.Target, err)
	}
	if c.Spec.TargetRef.Kind != "Deployment" {
		return nil, fmt.Errorf("read changes of %s: %w: %s", q.Target, driver.ErrInvalid, c.unfit())
	}
	inner := q
	inner.Target = c.target(q.Target.System)
	found, err := s.cluster.WorkloadChanges().Changes(ctx, inner)
	if err != nil {
		return nil, err
	}
	found = slices.Clone(found)
	for i := range found {
		found[i].ID = kind + ":" + found[i].ID
		found[i].Source = kind
		found[i].Target = q.Target
	}
	return found, nil
}
