package gitops

import (
	"context"
	"fmt"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(kind, systemType, func(c cluster) driver.ChangeSource { return changes{client: dial(c), now: time.Now} })
}

// changes reads the hold of a target.
type changes struct {
	client *client
	now    func() time.Time
}

// Changes lists when the hold that is in place began, and when it expired. Neither
// Argo CD nor Flux records when somebody else switched a target.
func (s changes) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	ref, err := parseTarget(q.Target)
	if err != nil {
		return nil, err
	}
	p, err := s.client.present(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read changes of %s: %w", q.Target, err)
	}
	if p.hold == nil || p.hold.broken {
		return nil, nil
	}
	what := q.Kind
	if what == "" {
		what = incident.ChangeConfig
	}
	var found []incident.Change
	note := func(id string, at time.Time, from, to, summary string) {
		// Times are whole seconds: a window that begins inside one includes it.
		if at.Before(q.Since.Truncate(time.Second)) || at.After(q.Until) {
			return
		}
		found = append(found, incident.Change{
			ID: id, Source: kind, Kind: what, Service: q.Service, Target: q.Target, At: at,
			Author: p.hold.by, From: from, To: to, Summary: summary,
		})
	}
	id := fmt.Sprintf("%s/%s/%s@%d", ref.form.name, ref.namespace, ref.name, p.hold.since.Unix())
	note(id, p.hold.since.UTC(), p.named(p.hold.before, false), held, "held until "+stamp(p.hold.expires)+": "+p.hold.reason)
	if p.hold.overdue(s.now()) {
		note(id+"/overdue", p.hold.expires.UTC(), held, held, "the hold expired and nobody resumed it: nothing of what is in Git has been applied since "+stamp(p.hold.since))
	}
	return found, nil
}
