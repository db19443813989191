package compensate

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(s *services) driver.ChangeSource { return source{s} })
}

// source finds the changes of a resource that its service knows of.
type source struct{ services *services }

// Changes asks the service. What it lists outside the window is left out.
func (s source) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	h, resource, err := s.services.find(q.Target)
	if err != nil {
		return nil, err
	}
	x, err := h.do(ctx, exchange{method: http.MethodGet, resource: resource, query: url.Values{
		"view": {"changes"}, "since": {q.Since.UTC().Format(time.RFC3339Nano)}, "until": {q.Until.UTC().Format(time.RFC3339Nano)},
	}})
	var answer changed
	if err == nil {
		err = x.into(&answer)
	}
	if err == nil && answer.Changes == nil {
		err = violation("the answer lists no changes")
	}
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, final(err))
	}
	changeKind := q.Kind
	if changeKind == "" {
		changeKind = incident.ChangeConfig
	}
	var changes []incident.Change
	for _, c := range *answer.Changes {
		id := line(c.ID)
		if id == "" || c.At.IsZero() {
			return nil, fmt.Errorf("list changes of %s: %w", q.Target, final(violation("a change has no id or no time")))
		}
		if c.At.Before(q.Since) || c.At.After(q.Until) {
			continue
		}
		changes = append(changes, incident.Change{
			ID:      q.Target.Path + "@" + id,
			Source:  kind,
			Kind:    changeKind,
			Service: q.Service,
			Target:  q.Target,
			At:      c.At.UTC(),
			Author:  line(c.Author),
			From:    line(c.From),
			To:      line(c.To),
			Summary: line(c.Summary),
		})
	}
	slices.SortStableFunc(changes, func(a, b incident.Change) int { return a.At.Compare(b.At) })
	return changes, nil
}
