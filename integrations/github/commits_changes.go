package github

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(revertKind, systemType, func(c *connection) driver.ChangeSource { return commits{c} })
}

// commits lists what changed a branch: its commits, and of merges only the merge.
type commits struct{ conn *connection }

// Changes lists the commits of the branch itself in the window. Their time is
// that of the commit, which is when GitHub merged it.
func (s commits) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := lineOf(q.Target)
	if err != nil {
		return nil, err
	}
	present, err := s.conn.tip(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	chain, whole, err := s.conn.chain(ctx, at, present.commit, q.Since)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	if !whole {
		return nil, fmt.Errorf("list changes of %s: more than %d commits", q.Target, commitPages*pageSize)
	}
	kind := q.Kind
	if kind == "" {
		kind = incident.ChangeConfig
	}
	var found []incident.Change
	for _, c := range slices.Backward(chain) {
		when := c.GetCommit().GetCommitter().GetDate().Time
		if when.Before(q.Since.Truncate(time.Second)) || when.After(q.Until) {
			continue
		}
		change := incident.Change{
			ID: fmt.Sprintf("%s/commits/%s", at.repo(), c.GetSHA()), Source: revertKind, Kind: kind, Service: q.Service, Target: q.Target,
			At: when.UTC(), Author: plain(authorOf(c), 100), To: shorten(c.GetSHA()), From: incident.StateAbsent,
			Summary: plain(firstLine(c.GetCommit().GetMessage()), maxSummary), URL: webAddress(c.GetHTMLURL()),
		}
		if len(c.Parents) > 0 {
			change.From = shorten(c.Parents[0].GetSHA())
		}
		found = append(found, change)
	}
	return found, nil
}
