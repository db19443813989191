package helm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/release"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(c cluster) driver.ChangeSource { return changes{dial: dial(c)} })
}

// changes reads the history of a release.
type changes struct {
	dial func() (*clients, error)
}

// Changes lists the revisions that are kept of a release. Helm records no author.
func (s changes) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	ref, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	c, err := s.dial()
	if err != nil {
		return nil, err
	}
	past, err := c.recordsOf(ctx, ref).history()
	if err != nil {
		return nil, fmt.Errorf("read changes of %s: %w", q.Target, err)
	}
	what := q.Kind
	if what == "" {
		what = incident.ChangeDeploy
	}
	var found []incident.Change
	for i, r := range past {
		at := r.Info.LastDeployed.Time.UTC()
		// A window that begins inside a second includes all of it, as with sources whose
		// times are whole seconds.
		if at.Before(q.Since.Truncate(time.Second)) || at.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID: fmt.Sprintf("%s@%d", ref, r.Version), Source: kind, Kind: what,
			Service: q.Service, Target: q.Target, At: at, To: r.name(),
		}
		var said []string
		switch {
		case i == 0 && r.Version == 1:
			change.From = incident.StateAbsent
			said = append(said, "installed")
		case i == 0:
			said = append(said, "first revision that the history keeps")
		default:
			change.From = past[i-1].name()
			said = append(said, difference(c, past[i-1].Release, r.Release))
		}
		change.Summary = strings.Join(append(said, noted(r)...), "; ")
		found = append(found, change)
	}
	return found, nil
}

// noted is what Helm noted about a revision. What it notes of one that failed quotes
// the API server, which may quote a secret.
func noted(r revision) []string {
	switch status := r.Info.Status; status {
	case release.StatusDeployed, release.StatusSuperseded:
		if r.Info.Description != "" {
			return []string{oneLine(r.Info.Description, maxSaid)}
		}
		return nil
	case release.StatusUnknown, release.StatusFailed, release.StatusUninstalled, release.StatusUninstalling,
		release.StatusPendingInstall, release.StatusPendingUpgrade, release.StatusPendingRollback:
		return []string{"status " + oneLine(status.String(), maxLabel)}
	default:
		return []string{"status " + oneLine(status.String(), maxLabel)}
	}
}
