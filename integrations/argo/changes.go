package argo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(c cluster) driver.ChangeSource { return changes{c} })
}

// changes reads what a Rollout's own history says about its deploys.
type changes struct{ cluster cluster }

// Changes lists the moments at which a template was put into the specification: the
// beginning of each update, not its promotion, which nobody records. Revisions that
// have left the history limit of the Rollout are not listed.
func (s changes) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	ref, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	r, err := read(ctx, s.cluster, ref)
	if err != nil {
		return nil, fmt.Errorf("read changes of %s: %w", q.Target, err)
	}
	changed := q.Kind
	if changed == "" {
		changed = incident.ChangeDeploy
	}
	var found []incident.Change
	for i, act := range r.history.activations {
		// Times are whole seconds: a window that begins inside one includes it.
		if act.at.Before(q.Since.Truncate(time.Second)) || act.at.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID:      fmt.Sprintf("%s@%d", ref, act.number),
			Source:  kind,
			Kind:    changed,
			Service: q.Service,
			Target:  q.Target,
			At:      act.at,
			To:      named(act.number, act.revision.label),
		}
		if act.number == act.revision.number {
			// A template that came back has the annotations of its last time.
			change.Author = s.cluster.Author(act.revision.set)
		}
		var said []string
		switch {
		case i == 0 && act.number == 1:
			change.From = incident.StateAbsent
			said = append(said, "created")
		case i == 0:
			said = append(said, "first revision that the history keeps")
		default:
			previous := r.history.activations[i-1]
			change.From = named(previous.number, previous.revision.label)
			said = append(said, s.cluster.TemplateDifference(previous.revision.set, act.revision.set))
		}
		if act.bound {
			said = append(said, "came back at a time that was not recorded, at the earliest "+act.at.Format(time.RFC3339))
		}
		if i == len(r.history.activations)-1 && r.inFlight() {
			_, detail := r.progress(false)
			said = append(said, "not promoted: "+detail)
		}
		change.Summary = strings.Join(said, "; ")
		found = append(found, change)
	}
	return found, nil
}
