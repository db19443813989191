package product

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// countTrial bounds the trial of one data check: what the database takes at most, and the
// start of the grammar that reads SQL.
const countTrial = 10 * time.Second

// doctorData makes each data check of the runbooks once, for one service, so that a
// right that is missing is not found in an incident. It only reads.
func doctorData(ctx context.Context, rules Rules, reached map[string]SystemConfig, check func(what string, err error)) {
	for _, r := range rules.Runbooks {
		if len(r.Recovery.Data) == 0 {
			continue
		}
		service, ok := someService(r, rules.Catalogue)
		if !ok {
			check("data checks of runbook "+r.Metadata.Name, errors.New("the catalogue has no service that the runbook matches"))
			continue
		}
		concrete, err := r.For(service)
		if err != nil {
			check("data checks of runbook "+r.Metadata.Name, err)
			continue
		}
		for _, d := range concrete.Recovery.Data {
			what := fmt.Sprintf("data check %q of runbook %s, for %s", d.Name, r.Metadata.Name, service)
			s, ok := reached[d.System]
			if !ok {
				check(what, errors.New("the system is not configured, or was not reached"))
				continue
			}
			check(what, tryCount(ctx, s, d))
		}
	}
}

// someService is the first service of the catalogue that a runbook matches.
func someService(r *runbooks.Runbook, c *runbooks.Catalogue) (string, bool) {
	for _, s := range c.Services() {
		if _, err := r.For(s.Name); err == nil {
			return s.Name, true
		}
	}
	return "", false
}

func tryCount(ctx context.Context, s SystemConfig, d incident.DataCheck) error {
	ctx, cancel := context.WithTimeout(ctx, countTrial)
	defer cancel()
	set, err := driver.Open(ctx, []driver.System{{Name: s.Name, Type: s.Type, Decode: s.Settings.Decode}})
	if err != nil {
		return err
	}
	defer func() { _ = set.Close() }() // Nothing was written.
	_, err = activities.Count(ctx, set, d, time.Now().UTC())
	return err
}
