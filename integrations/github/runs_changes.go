package github

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(workflowKind, systemType, func(c *connection) driver.ChangeSource { return runChanges{c} })
}

// runChanges lists the runs of a workflow on a branch as changes.
type runChanges struct{ conn *connection }

// Changes lists the runs that ended in the window with success, and those that
// failed in it, since they may have altered production half-way and say so. A
// run that is under way is no change yet. The state before is the commit of the
// success before.
func (s runChanges) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	at, err := pipelineOf(q.Target)
	if err != nil {
		return nil, err
	}
	since := q.Since.Truncate(time.Second)
	known, err := s.read(ctx, at, since)
	if err != nil {
		return nil, fmt.Errorf("list changes of %s: %w", q.Target, err)
	}
	slices.SortStableFunc(known, func(a, b run) int { return a.GetUpdatedAt().Compare(b.GetUpdatedAt().Time) })
	kind := q.Kind
	if kind == "" {
		kind = incident.ChangeInfra
	}
	var found []incident.Change
	live := ""
	for _, r := range known {
		ended := r.GetUpdatedAt().Time
		if !ended.Before(since) && !ended.After(q.Until) {
			found = append(found, incident.Change{
				ID: fmt.Sprintf("%s/runs/%d", at.repo(), r.GetID()), Source: workflowKind, Kind: kind, Service: q.Service, Target: q.Target,
				At: ended.UTC(), Author: plain(r.GetActor().GetLogin(), 100), From: live, To: shorten(r.commit),
				Summary: s.summary(r), URL: webAddress(r.GetHTMLURL()),
			})
		}
		if r.phase == phaseLive {
			live = shorten(r.commit)
		}
	}
	return found, nil
}

func (s runChanges) summary(r run) string {
	said := []string{plain(r.GetDisplayTitle(), maxSummary)}
	if r.phase == phaseFailed {
		said = append(said, "this run ended with "+plain(r.GetConclusion(), 20))
	}
	return cut(strings.Join(said, "; "), maxSummary)
}

// read returns the runs that have ended, down to the first success that is
// safely before a moment.
func (s runChanges) read(ctx context.Context, at pipeline, since time.Time) ([]run, error) {
	var known []run
	for page, read := 1, 0; read < runPages; read++ {
		batch, next, err := s.conn.runs(ctx, at, page)
		if err != nil {
			return nil, err
		}
		for _, r := range batch {
			if r.phase == phaseOpen {
				continue
			}
			known = append(known, r)
			if r.phase == phaseLive && r.started().Before(since.Add(-deployTime)) {
				return known, nil
			}
		}
		if next == 0 {
			return known, nil
		}
		page = next
	}
	return known, nil // GitHub lists no more.
}
