package kubernetes

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(workloadInverse, systemType, func(c *cluster) driver.ChangeSource { return changes{c} })
}

// changes reads what a workload's own history says about its deploys.
type changes struct{ cluster *cluster }

// Changes lists the moments at which a template was put in place. Revisions that
// have left the history limit of the workload are unknown to Kubernetes, and so
// are not listed.
func (s changes) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	ref, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	w, err := s.cluster.workload(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read changes of %s: %w", q.Target, err)
	}
	kind := q.Kind
	if kind == "" {
		kind = incident.ChangeDeploy
	}
	var found []incident.Change
	for i, act := range w.history.activations {
		// Times are whole seconds: a window that begins inside one includes it.
		if act.at.Before(q.Since.Truncate(time.Second)) || act.at.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID:      fmt.Sprintf("%s@%d", ref, act.number),
			Source:  workloadInverse,
			Kind:    kind,
			Service: q.Service,
			Target:  q.Target,
			At:      act.at,
			To:      named(act.number, act.revision.template.label()),
			Author:  s.author(act),
		}
		var said []string
		switch {
		case i == 0 && act.number == 1:
			change.From = incident.StateAbsent
			said = append(said, "created")
		case i == 0:
			said = append(said, "first revision that the history keeps")
		default:
			previous := w.history.activations[i-1]
			change.From = named(previous.number, previous.revision.template.label())
			said = append(said, difference(previous.revision.template, act.revision.template))
		}
		if act.bound {
			said = append(said, "came back at a time that was not recorded, at the earliest "+act.at.Format(time.RFC3339))
		}
		if why := changeCause(w.history, i); why != "" {
			said = append(said, why)
		}
		change.Summary = strings.Join(said, "; ")
		found = append(found, change)
	}
	return found, nil
}

// author is who the pipeline says deployed the revision. An old template that came
// back still carries the annotations of its last time, so only the latest number
// of a revision is told.
func (s changes) author(act activation) string {
	if s.cluster.settings.AuthorAnnotation == "" || act.number != act.revision.number {
		return ""
	}
	return act.revision.annotations[s.cluster.settings.AuthorAnnotation]
}

// changeCause is what was noted about an activation. The annotation stays on a
// workload until somebody writes it again, so that a cause that the revision
// before has too says nothing about this one.
func changeCause(h history, index int) string {
	act := h.activations[index]
	why := act.revision.annotations[causeAnnotation]
	if act.number != act.revision.number {
		return ""
	}
	if index > 0 && h.activations[index-1].revision.annotations[causeAnnotation] == why {
		return ""
	}
	return why
}
