package activities

import (
	"context"
	"sync"

	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery"
)

// RecoveryPlan reads from the runbook how the rollback waits for its verdict.
func (a *Activities) RecoveryPlan(_ context.Context, plan incident.Plan) (RecoveryPlan, error) {
	spec, err := a.recoverySpec(plan)
	if err != nil {
		return RecoveryPlan{}, asActivityError(err)
	}
	return RecoveryPlan{Warmup: spec.Warmup, Every: max(spec.Step, minMeasureInterval), Long: spec.Long, Hold: spec.Hold, Deadline: spec.Deadline}, nil
}

func (a *Activities) recoverySpec(plan incident.Plan) (incident.RecoverySpec, error) {
	rb, err := a.runbook(plan.Runbook, plan.RunbookDigest)
	if err != nil {
		return incident.RecoverySpec{}, err
	}
	concrete, err := rb.For(plan.Service)
	if err != nil {
		return incident.RecoverySpec{}, err
	}
	return concrete.Recovery, nil
}

// MeasureRecovery looks at the SLIs and the data checks once and judges. A system that
// does not answer makes its SLI or check unknown; it is never an error and never
// recovered. Data is counted again only when the counts of the last look are old.
func (a *Activities) MeasureRecovery(ctx context.Context, in MeasureInput) (incident.RecoveryResult, error) {
	defer beat(ctx)()
	spec, err := a.recoverySpec(in.Plan)
	if err != nil {
		return incident.RecoveryResult{}, asActivityError(err)
	}
	times := recovery.Times{ChangedAt: in.ChangedAt, OnsetAt: in.OnsetAt, ActionsDoneAt: in.ActionsDoneAt, Now: a.Now().UTC()}
	queries := recovery.Windows(spec, times)
	measured := make([]recovery.Measurement, len(spec.SLIs))
	var wg sync.WaitGroup
	for i, sli := range spec.SLIs {
		wg.Go(func() {
			measured[i] = recovery.Measurement{Name: sli.Name, Signal: a.ask(ctx, sli.System, sli.Query, queries)}
			if sli.Traffic != "" {
				measured[i].Traffic = a.ask(ctx, sli.System, sli.Traffic, queries)
			}
			if sli.Bad != "" {
				measured[i].Bad = a.ask(ctx, sli.System, sli.Bad, queries)
				measured[i].Total = a.ask(ctx, sli.System, sli.Total, queries)
			}
		})
	}
	var counts []incident.DataCount
	if len(spec.Data) > 0 {
		wg.Go(func() {
			if counts = recovery.Fresh(spec.Data, in.Last, in.ActionsDoneAt, times.Now); counts == nil {
				counts = a.countData(ctx, in.Plan.Service, spec.Data)
			}
		})
	}
	wg.Wait()
	res := recovery.Judge(spec, recovery.Input{Times: times, SLIs: measured})
	return recovery.WithData(spec.Data, res, in.Before, counts), nil
}

// ask sends one query for every window.
func (a *Activities) ask(ctx context.Context, system, query string, q recovery.Queries) recovery.Answer {
	probe, err := a.Systems.Probe(system)
	if err != nil {
		return recovery.Answer{Failed: err.Error()}
	}
	var out recovery.Answer
	for _, w := range []struct {
		r    recovery.Range
		into *[]incident.Series
	}{{q.Baseline, &out.Baseline}, {q.During, &out.During}, {q.Counted, &out.After}} {
		if w.r.IsZero() {
			continue
		}
		series, err := probe.QueryRange(ctx, query, w.r.From, w.r.Until, w.r.Step)
		if err != nil {
			why, _ := redact.Redact([]byte(err.Error()))
			return recovery.Answer{Failed: string(why)}
		}
		*w.into = series
	}
	return out
}
