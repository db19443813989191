package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// migrationChanges reads what a version table says about when migrations were
// applied. Goose records each; golang-migrate keeps one row, so that only the
// last one is known, and its time only where the server tracks the time of
// commits (track_commit_timestamp). What was taken back leaves no trace in either.
type migrationChanges struct{ server *server }

// errNoTimes means that nothing recorded when the last migration was applied.
var errNoTimes = errors.New("neither golang-migrate nor the server, which does not track the time of commits, knows when")

// Changes lists the migrations that were applied in the window and are still in
// place.
func (s migrationChanges) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	t, err := migrations(s).target(q.Target)
	if err != nil {
		return nil, err
	}
	var present history
	err = s.server.with(ctx, func(c *session) error {
		present, err = t.read(ctx, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	kind := q.Kind
	if kind == "" {
		kind = incident.ChangeMigration
	}
	var found []incident.Change
	for n, a := range present.applied {
		if a.at.IsZero() {
			if t.tool.name == goose || n == len(present.applied)-1 {
				return nil, fmt.Errorf("list changes of %s: version %d: %w", q.Target, a.version, errNoTimes)
			}
			continue
		}
		if a.at.Before(q.Since) || a.at.After(q.Until) {
			continue
		}
		m, _ := t.folder.find(a.version)
		change := incident.Change{
			ID:      fmt.Sprintf("%s@%d", t.set.Name, a.version),
			Source:  migrationKind,
			Kind:    kind,
			Service: q.Service,
			Target:  q.Target,
			At:      a.at,
			To:      m.label(),
			Summary: fmt.Sprintf("%s migrated to %s", t.set.Name, m.label()),
		}
		if n > 0 {
			before, _ := t.folder.find(present.applied[n-1].version)
			change.From = before.label()
		} else {
			change.From = incident.StateAbsent
		}
		found = append(found, change)
	}
	return found, nil
}
