package runbooks_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// offered is an option of a strategy, named after it, that undoes the culprit.
func offered(s incident.Strategy, culprit *incident.Suspect, edits ...func(*incident.Option)) incident.Option {
	o := incident.Option{
		Title: string(s), Rung: incident.RungReversible, Suspect: culprit, ExpectedTime: time.Minute, Tier: incident.TierOnCall,
		Plan: incident.Plan{Service: "checkout", Runbook: "r", Option: string(s), Strategy: s, Actions: []incident.Action{{Kind: "nats.kv", Reversible: true}}},
	}
	for _, e := range edits {
		e(&o)
	}
	return o
}

func titles(options []incident.Option) (titles []string, recommended string) {
	for _, o := range options {
		titles = append(titles, o.Title)
		if o.Recommended {
			recommended += o.Title
		}
	}
	return titles, recommended
}

func TestOrder(t *testing.T) {
	t.Parallel()
	const (
		rollback   = incident.StrategyRollback
		flagOff    = incident.StrategyFlagOff
		restore    = incident.StrategyRestore
		compensate = incident.StrategyCompensate
		forward    = incident.StrategyRollForward
	)
	culprit := suspect("nats.kv", "nats", "releases/checkout")
	other := suspect("nats.kv", "nats", "config/checkout")
	migration := suspect("nats.kv", "nats", "releases/checkout")
	migration.Change.Kind = incident.ChangeMigration
	blamed := incident.Ranking{Suspects: []incident.Suspect{*culprit, *other}}
	abstained := incident.Ranking{Suspects: []incident.Suspect{*culprit, *other}, Likely: -1}
	blocked := func(o *incident.Option) { o.Blocked = true }
	oneWay := func(o *incident.Option) { o.Plan.Actions[0].Reversible = false }
	slow := func(o *incident.Option) { o.ExpectedTime = time.Hour }
	controlled := func(o *incident.Option) { o.Rung, o.Title = incident.RungControlled, o.Title+" controlled" }
	forbidden := func(o *incident.Option) { o.Tier = incident.TierForbidden }
	all := []incident.Option{offered(forward, culprit), offered(compensate, culprit), offered(restore, culprit), offered(flagOff, culprit), offered(rollback, culprit)}
	crossing := incident.Ranking{Suspects: []incident.Suspect{*culprit, {Change: incident.Change{ID: "m", Source: "db", Kind: incident.ChangeMigration, Service: "checkout", At: culprit.Change.At.Add(-time.Minute)}}}}
	earlier := incident.Ranking{Suspects: []incident.Suspect{*culprit, {Change: incident.Change{ID: "m", Source: "db", Kind: incident.ChangeMigration, Service: "checkout", At: culprit.Change.At.Add(-2 * time.Hour)}}}}
	for _, tt := range []struct {
		name        string
		options     []incident.Option
		in          runbooks.OrderInput
		want        []string
		recommended string
	}{
		{"severe: roll back now", all, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"rollback", "flag_off", "compensate", "restore", "roll_forward"}, "rollback"},
		{"a subset is harmed: flag first", all, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed, Subset: true}, []string{"flag_off", "rollback", "compensate", "roll_forward", "restore"}, "flag_off"},
		{"mild and customer-facing", all, runbooks.OrderInput{Severity: incident.Sev3, Ranking: blamed, Workload: runbooks.WorkloadCustomerFacing}, []string{"flag_off", "rollback", "roll_forward", "compensate", "restore"}, "flag_off"},
		{"mild and internal with a fast pipeline", all, runbooks.OrderInput{Severity: incident.Sev4, Ranking: blamed, Workload: runbooks.WorkloadInternal}, []string{"roll_forward", "flag_off", "rollback", "compensate", "restore"}, "roll_forward"},
		{"mild and internal with a slow pipeline", []incident.Option{offered(forward, culprit, slow), offered(rollback, culprit)}, runbooks.OrderInput{Severity: incident.Sev4, Ranking: blamed, Workload: runbooks.WorkloadBatch}, []string{"rollback", "roll_forward"}, "rollback"},
		{"data pipeline", all, runbooks.OrderInput{Severity: incident.Sev3, Ranking: blamed, Workload: runbooks.WorkloadDataPipeline}, []string{"flag_off", "compensate", "restore", "rollback", "roll_forward"}, "flag_off"},
		{"a compromise: isolate first", all, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed, Compromise: true}, []string{"compensate", "flag_off", "rollback", "restore", "roll_forward"}, "compensate"},
		{"a migration came with it", all, runbooks.OrderInput{Severity: incident.Sev1, Ranking: crossing}, []string{"flag_off", "compensate", "restore", "roll_forward", "rollback"}, "flag_off"},
		{"a migration long before it", all, runbooks.OrderInput{Severity: incident.Sev1, Ranking: earlier}, []string{"rollback", "flag_off", "compensate", "restore", "roll_forward"}, "rollback"},
		{"never a blind code rollback over a migration", []incident.Option{offered(rollback, migration)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: incident.Ranking{Suspects: []incident.Suspect{*migration}}}, []string{"rollback"}, ""},
		{"the ranking abstained", all, runbooks.OrderInput{Severity: incident.Sev1, Ranking: abstained}, []string{"rollback", "flag_off", "compensate", "restore", "roll_forward"}, ""},
		{"an option for another suspect", []incident.Option{offered(rollback, other), offered(restore, culprit)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"restore", "rollback"}, "restore"},
		{"an option that stands alone", []incident.Option{offered(rollback, nil)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"rollback"}, ""},
		{"blocked comes last", []incident.Option{offered(rollback, culprit, blocked), offered(restore, culprit)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"restore", "rollback"}, "restore"},
		{"only a blocked one", []incident.Option{offered(rollback, culprit, blocked)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"rollback"}, ""},
		{"only a one-way door", []incident.Option{offered(rollback, culprit, oneWay)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"rollback"}, ""},
		{"one-way after the rest", []incident.Option{offered(rollback, culprit, oneWay), offered(restore, culprit)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"restore", "rollback"}, "restore"},
		{"only a forbidden one", []incident.Option{offered(rollback, culprit, forbidden)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"rollback"}, ""},
		{"from safe to risky", []incident.Option{offered(rollback, culprit, controlled), offered(rollback, culprit)}, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, []string{"rollback", "rollback controlled"}, "rollback"},
		{"a ranking that is out of bounds", all[4:], runbooks.OrderInput{Severity: incident.Sev1, Ranking: incident.Ranking{Likely: 3}}, []string{"rollback"}, ""},
		{"nothing", nil, runbooks.OrderInput{Severity: incident.Sev1, Ranking: blamed}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 1))
			for range 5 {
				in := slices.Clone(tt.options)
				r.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
				got, recommended := titles(runbooks.Order(in, tt.in))
				require.Equal(t, tt.want, got)
				require.Equal(t, tt.recommended, recommended)
			}
		})
	}
}

func TestOrderTakesBackAnEarlierRecommendation(t *testing.T) {
	t.Parallel()
	o := offered(incident.StrategyRollback, nil, func(o *incident.Option) { o.Recommended = true })
	require.False(t, runbooks.Order([]incident.Option{o, o}, runbooks.OrderInput{})[0].Recommended)
}

func TestAssignIDsAreStable(t *testing.T) {
	t.Parallel()
	culprit, other := suspect("nats.kv", "nats", "releases/checkout"), suspect("nats.kv", "nats", "config/checkout")
	a, b, c := offered(incident.StrategyRollback, culprit), offered(incident.StrategyRestore, culprit), offered(incident.StrategyRollback, other)
	first := runbooks.AssignIDs(nil, []incident.Option{a, b})
	require.Equal(t, "o1", first[0].ID)
	require.Equal(t, "o2", first[1].ID)
	b.Digest = "another plan"
	second := runbooks.AssignIDs(first, []incident.Option{c, b})
	require.Equal(t, "o3", second[0].ID, "an ID never comes to mean another option")
	require.Equal(t, "o2", second[1].ID)
	third := runbooks.AssignIDs(slices.Concat(first, second), []incident.Option{a, a})
	require.Equal(t, "o1", third[0].ID)
	require.Equal(t, "o4", third[1].ID, "two options never share an ID")
}
