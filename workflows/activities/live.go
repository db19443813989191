package activities

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// How production is measured for the blast radius: quickly, because people
// wait, and over a window that a scrape every minute fills.
const (
	liveDeadline = 2 * time.Second
	liveWindow   = 2 * time.Minute
	liveStep     = 30 * time.Second
)

// unitRatio is the unit of SLIs that are shares, which alone have an error
// budget that can burn.
const unitRatio = "ratio"

// measure fills in what is measured of the blast radii of options, and how fast
// the objectives burn if the policy asks. It never fails: what could not be had
// is not known, with the reason.
func (a *Activities) measure(ctx context.Context, options []incident.Option, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, liveDeadline)
	defer cancel()
	var queries []runbooks.LiveQuery
	for _, o := range options {
		queries = append(queries, runbooks.LiveQueries(o.Radius, a.Catalogue)...)
	}
	answers := a.measureAll(ctx, queries, now)
	burns := map[string]*incident.Measured{}
	for i := range options {
		o := &options[i]
		o.Radius = runbooks.WithLive(o.Radius, answers)
		if !a.Policy.Asks(incident.LiveSLOBurn) {
			continue
		}
		key := o.Plan.RunbookDigest + " " + o.Plan.Service
		if _, done := burns[key]; !done {
			burns[key] = a.burn(ctx, o.Plan, now)
		}
		o.SLOBurn = burns[key]
	}
}

// present is an option as it is at a decision: with what the policy asks for
// measured anew, because what was shown may be old, or made up.
func (a *Activities) present(ctx context.Context, o incident.Option, now time.Time) incident.Option {
	ctx, cancel := context.WithTimeout(ctx, liveDeadline)
	defer cancel()
	if spec, ok := a.optionSpec(o.Plan); ok {
		o.Rung = max(o.Rung, spec.Rung)
	}
	var queries []runbooks.LiveQuery
	for _, q := range runbooks.LiveQueries(o.Radius, a.Catalogue) {
		if a.Policy.Asks(q.Fact) {
			queries = append(queries, q)
		}
	}
	anew := runbooks.WithLive(o.Radius, a.measureAll(ctx, queries, now))
	for _, f := range incident.LiveFacts() {
		if a.Policy.Asks(f) {
			*o.Radius.Live(f) = *anew.Live(f)
		}
	}
	o.SLOBurn = nil
	if a.Policy.Asks(incident.LiveSLOBurn) {
		o.SLOBurn = a.burn(ctx, o.Plan, now)
	}
	return o
}

// optionSpec is the option of the loaded runbook that a plan was made from.
func (a *Activities) optionSpec(plan incident.Plan) (runbooks.OptionSpec, bool) {
	rb, err := a.runbook(plan.Runbook, plan.RunbookDigest)
	if err != nil {
		return runbooks.OptionSpec{}, false
	}
	return optionOf(*rb, plan.Option)
}

// measureAll asks every query once, all at the same time.
func (a *Activities) measureAll(ctx context.Context, queries []runbooks.LiveQuery, now time.Time) []runbooks.LiveAnswer {
	asked := map[runbooks.LiveQuery]bool{}
	answers := make([]runbooks.LiveAnswer, 0, len(queries))
	for _, q := range queries {
		if !asked[q] {
			asked[q] = true
			answers = append(answers, runbooks.LiveAnswer{LiveQuery: q})
		}
	}
	var group errgroup.Group
	group.SetLimit(maxConcurrentReads)
	for i := range answers {
		group.Go(func() error {
			var err error
			if answers[i].Value, err = a.valueOf(ctx, answers[i].Fact, answers[i].System, answers[i].Query, now); err != nil {
				answers[i].Failed = said(err)
			}
			return nil
		})
	}
	_ = group.Wait()
	return answers
}

// valueOf is the newest value of a query.
func (a *Activities) valueOf(ctx context.Context, f incident.LiveFact, system, query string, now time.Time) (float64, error) {
	probe, err := a.Systems.Probe(system)
	if err != nil {
		return 0, err
	}
	series, err := probe.QueryRange(ctx, query, now.Add(-liveWindow), now, liveStep)
	if err != nil {
		return 0, err
	}
	return runbooks.LiveValue(f, series)
}

// burn is how many times faster than allowed the worst objective of a plan's
// runbook burns: the share of bad events by the share that is allowed. One
// objective that can not be measured makes it not known.
func (a *Activities) burn(ctx context.Context, plan incident.Plan, now time.Time) *incident.Measured {
	spec, err := a.recoverySpec(plan)
	if err != nil {
		return &incident.Measured{Reason: said(err)}
	}
	worst, found := 0.0, false
	var parts []string
	for _, sli := range spec.SLIs {
		allowed := sli.Objective.Bound
		if sli.Objective.Comparison == incident.Above {
			allowed = 1 - sli.Objective.Bound
		}
		if sli.Unit != unitRatio || allowed <= 0 || allowed >= 1 {
			continue
		}
		v, err := a.valueOf(ctx, incident.LiveTrafficShare, sli.System, sli.Query, now)
		if err != nil {
			return &incident.Measured{Reason: sli.Name + ": " + said(err)}
		}
		if sli.Objective.Comparison == incident.Above {
			v = 1 - v
		}
		worst, found = max(worst, v/allowed), true
		parts = append(parts, fmt.Sprintf("%s %.1f times", sli.Name, v/allowed))
	}
	if !found {
		return &incident.Measured{Reason: "no objective of the runbook is a share of events"}
	}
	return &incident.Measured{Value: &worst, Reason: "measured: " + strings.Join(parts, ", ")}
}

// situation is what the tier of an option is worked out from.
func situation(o incident.Option, severity incident.Severity, now time.Time) approvals.Situation {
	return approvals.Situation{Plan: o.Plan, Rung: o.Rung, Radius: o.Radius, Severity: severity, SLOBurn: o.SLOBurn, At: now}
}
