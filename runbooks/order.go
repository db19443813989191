package runbooks

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

const (
	// FastPipeline is the longest that a roll forward may take to be preferred
	// to a rollback where the harm is mild. It is REQUIREMENTS' time to roll
	// back.
	FastPipeline = 5 * time.Minute
	// migrationLead is how long before a deployment its migration is run. A
	// migration in that time, or later, is crossed by rolling the deployment
	// back.
	migrationLead = 30 * time.Minute
)

// OrderInput is what the decision rules look at.
type OrderInput struct {
	Severity incident.Severity
	Workload Workload
	Ranking  incident.Ranking
	// Subset says that only a part of the customers or of the traffic is
	// harmed.
	Subset bool
	// Compromise says that somebody has got in: what isolates and revokes comes
	// before what rolls back.
	Compromise bool
}

// Order sorts options by the field's decision rules (REQUIREMENTS C3, C4) and
// marks at most one as recommended: the first that is not blocked, can be
// undone, undoes the change that the ranking blames, and does not roll code
// back over a migration. When the ranking abstains, none is recommended. The
// order of the input does not matter.
func Order(options []incident.Option, in OrderInput) []incident.Option {
	out := slices.Clone(options)
	slices.SortStableFunc(out, func(a, b incident.Option) int {
		return cmp.Or(
			cmp.Compare(boolInt(a.Blocked), boolInt(b.Blocked)),
			cmp.Compare(boolInt(!in.justified(a)), boolInt(!in.justified(b))),
			cmp.Compare(boolInt(a.OneWay()), boolInt(b.OneWay())),
			cmp.Compare(in.preference(a), in.preference(b)),
			cmp.Compare(a.Rung, b.Rung),
			cmp.Compare(suspicion(b), suspicion(a)),
			cmp.Compare(reach(a), reach(b)),
			cmp.Compare(a.ExpectedTime, b.ExpectedTime),
			cmp.Compare(identity(a), identity(b)),
		)
	})
	recommended := false
	for i := range out {
		out[i].Recommended = !recommended && in.recommendable(out[i])
		recommended = recommended || out[i].Recommended
	}
	return out
}

// justified reports whether the option undoes the change that is blamed.
func (in OrderInput) justified(o incident.Option) bool {
	likely, ok := in.likely()
	if !ok || o.Suspect == nil {
		return false
	}
	a, b := o.Suspect.Change, likely.Change
	if a.Source == b.Source && a.ID == b.ID && a.Target == b.Target && a.At.Equal(b.At) {
		return true
	}
	return SameChange(a, b)
}

func (in OrderInput) likely() (incident.Suspect, bool) {
	if i := in.Ranking.Likely; i >= 0 && i < len(in.Ranking.Suspects) {
		return in.Ranking.Suspects[i], true
	}
	return incident.Suspect{}, false
}

func (in OrderInput) recommendable(o incident.Option) bool {
	if o.Blocked || o.OneWay() || o.Tier == incident.TierForbidden || !in.justified(o) {
		return false
	}
	if o.Rung == incident.RungUnknown || o.Rung == incident.RungIrreversible || len(o.Radius.Irreversible) > 0 {
		return false
	}
	return o.Plan.Strategy != incident.StrategyRollback || !in.crossesMigration(o)
}

// crossesMigration reports whether going back would go over a migration of the
// same service: the suspect itself, or one run with or after it.
func (in OrderInput) crossesMigration(o incident.Option) bool {
	if o.Suspect == nil {
		return false
	}
	if o.Suspect.Change.Kind == incident.ChangeMigration {
		return true
	}
	return slices.ContainsFunc(in.Ranking.Suspects, func(s incident.Suspect) bool {
		return s.Change.Kind == incident.ChangeMigration && s.Change.Service == o.Suspect.Change.Service &&
			!s.Change.At.Before(o.Suspect.Change.At.Add(-migrationLead))
	})
}

// preference is the place of the option's strategy under the decision rules;
// lower is better.
func (in OrderInput) preference(o incident.Option) int {
	order := in.strategies(o)
	if i := slices.Index(order, o.Plan.Strategy); i >= 0 {
		return i
	}
	return len(order)
}

func (in OrderInput) strategies(o incident.Option) []incident.Strategy {
	const (
		rollback   = incident.StrategyRollback
		flagOff    = incident.StrategyFlagOff
		restore    = incident.StrategyRestore
		compensate = incident.StrategyCompensate
		forward    = incident.StrategyRollForward
	)
	severe := in.Severity == incident.Sev1 || in.Severity == incident.Sev2
	switch {
	case in.Compromise:
		return []incident.Strategy{compensate, flagOff, rollback, restore, forward}
	case in.migration(o):
		// A flag touches no data, so it stays the lower rung (C4).
		return []incident.Strategy{flagOff, compensate, restore, forward, rollback}
	case in.Subset:
		return []incident.Strategy{flagOff, rollback, compensate, forward, restore}
	case severe:
		return []incident.Strategy{rollback, flagOff, compensate, restore, forward}
	}
	switch in.Workload {
	case WorkloadDataPipeline:
		return []incident.Strategy{flagOff, compensate, restore, rollback, forward}
	case WorkloadInternal, WorkloadBatch:
		if o.Plan.Strategy == forward && o.ExpectedTime > 0 && o.ExpectedTime <= FastPipeline {
			return []incident.Strategy{forward}
		}
		return []incident.Strategy{"", flagOff, rollback, forward, compensate, restore}
	case WorkloadRevenue, WorkloadCustomerFacing:
		return []incident.Strategy{flagOff, rollback, forward, compensate, restore}
	default:
		return []incident.Strategy{flagOff, rollback, compensate, restore, forward}
	}
}

// migration reports whether the blamed change, or the option's own suspect
// when none is blamed, brings a migration into play.
func (in OrderInput) migration(o incident.Option) bool {
	if likely, ok := in.likely(); ok {
		return in.crossesMigration(incident.Option{Suspect: &likely})
	}
	return in.crossesMigration(o)
}

func suspicion(o incident.Option) float64 {
	if o.Suspect == nil {
		return 0
	}
	return o.Suspect.Score
}

// reach is how much an option touches.
func reach(o incident.Option) int {
	n := len(o.Radius.Services) + len(o.Radius.Dependents) + len(o.Radius.SharedData) + len(o.Radius.Irreversible)
	if o.Radius.Global != nil {
		n += 1000
	}
	return n
}

// identity is what makes two options the same across plans: runbook, option,
// service and the change undone.
func identity(o incident.Option) string {
	id := o.Plan.Runbook + "\x00" + o.Plan.Option + "\x00" + o.Plan.Service
	if o.Suspect != nil {
		id += "\x00" + o.Suspect.Change.Source + "\x00" + o.Suspect.Change.ID
	}
	return id
}

// AssignIDs gives every option of next its ID: the one that it had in
// previous, or else the next after the highest there. Previous are all options
// ever shown in the incident, so that no ID ever comes to mean another option.
func AssignIDs(previous, next []incident.Option) []incident.Option {
	ids := make(map[string]string, len(previous))
	highest := 0
	for _, o := range previous {
		ids[identity(o)] = o.ID
		if n, err := strconv.Atoi(strings.TrimPrefix(o.ID, "o")); err == nil {
			highest = max(highest, n)
		}
	}
	out := slices.Clone(next)
	used := map[string]bool{}
	for i := range out {
		id, ok := ids[identity(out[i])]
		if !ok || used[id] {
			highest++
			id = fmt.Sprintf("o%d", highest)
		}
		used[id] = true
		out[i].ID = id
	}
	return out
}
