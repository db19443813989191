package exec

import (
	"context"
	"fmt"
	"slices"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(p *program) driver.ChangeSource { return source{p} })
}

// source finds the changes that a program knows of.
type source struct{ program *program }

// Changes asks the program. What it lists outside the window is left out.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	if err := checkTarget(q.Target); err != nil {
		return nil, err
	}
	a, err := s.program.ask(ctx, question{Verb: verbChanges, Path: q.Target.Path, Window: &windowOf{Since: q.Since.UTC(), Until: q.Until.UTC()}})
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, final(err))
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeConfig
	}
	var changes []incident.Change
	for _, c := range *a.Changes {
		if c.At.Before(q.Since) || c.At.After(q.Until) {
			continue
		}
		changes = append(changes, incident.Change{
			ID:      q.Target.Path + "@" + line(c.ID),
			Source:  kind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      c.At.UTC(),
			Author:  line(c.Author),
			From:    line(c.From),
			To:      line(c.To),
			Summary: line(c.Summary),
			URL:     c.URL,
		})
	}
	slices.SortStableFunc(changes, func(a, b incident.Change) int { return a.At.Compare(b.At) })
	return changes, nil
}
