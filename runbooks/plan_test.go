package runbooks_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

func suspect(source, system, path string) *incident.Suspect {
	return &incident.Suspect{Change: incident.Change{
		ID: path + "@5", Source: source, Kind: incident.ChangeDeploy, Service: "checkout",
		Target: incident.Target{System: system, Path: path}, At: onset.Add(-3 * time.Minute),
	}, Score: 0.9}
}

func planInput(t *testing.T) runbooks.PlanInput {
	t.Helper()
	r, err := example(t, "nats-release-pointer.yaml").For("checkout")
	require.NoError(t, err)
	return runbooks.PlanInput{
		Incident: "pagerduty/Q1", Service: "checkout", Catalogue: shop(t), Runbook: r, Option: r.Options[0],
		Planned: []runbooks.Planned{{From: state("v42"), To: state("v41"), Reversible: true, ExpectedTime: 4 * time.Second, Preflight: ok("revision exists"), WontRevert: []string{"Caches."}}},
		Suspect: suspect("nats.kv", "nats", "releases/checkout"),
	}
}

func TestBuildPlan(t *testing.T) {
	t.Parallel()
	in := planInput(t)
	o, err := runbooks.BuildPlan(in)
	require.NoError(t, err)
	require.NoError(t, o.Plan.Validate())
	digest, err := o.Plan.Digest()
	require.NoError(t, err)
	require.Equal(t, digest, o.Digest)
	require.False(t, o.Blocked)
	require.False(t, o.OneWay())
	require.Equal(t, incident.TierUnknown, o.Tier, "the policy has not been asked")
	require.Equal(t, 4*time.Second, o.ExpectedTime)
	require.Equal(t, []string{"Data that the newer release has written.", "Caches."}, o.WontRevert)
	require.Equal(t, in.Runbook.Digest, o.Plan.RunbookDigest)
	require.Equal(t, incident.Target{System: "nats", Path: "releases/checkout"}, o.Plan.Actions[0].Target)

	again, err := runbooks.BuildPlan(planInput(t))
	require.NoError(t, err)
	require.Equal(t, o, again, "the same world gives the same plan")
	in.Planned[0].From = state("v43")
	moved, err := runbooks.BuildPlan(in)
	require.NoError(t, err)
	require.NotEqual(t, o.Digest, moved.Digest, "the world moved")
}

func TestBuildPlanBlocks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(*runbooks.Planned)
		want string
	}{
		{"a check that forbids it", func(p *runbooks.Planned) {
			p.Preflight = append(p.Preflight, incident.Preflight{Name: "deploy in flight", Result: incident.PreflightBlocked, Reason: "One is."})
		}, "deploy in flight"},
		{"a check with no result", func(p *runbooks.Planned) { p.Preflight[0].Result = "" }, "revision exists"},
		{"no check at all", func(p *runbooks.Planned) { p.Preflight = nil }, "preflight"},
		{"the driver's judgement", func(p *runbooks.Planned) { p.Blocked = true }, "revision exists"},
		{"nothing to do", func(p *runbooks.Planned) { p.From = p.To }, "something to undo"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := planInput(t)
			tt.edit(&in.Planned[0])
			o, err := runbooks.BuildPlan(in)
			require.NoError(t, err)
			require.True(t, o.Blocked)
			require.Empty(t, o.Plan.Actions)
			require.Equal(t, tt.want, o.Preflight[len(o.Preflight)-1].Name)
			require.NotEmpty(t, o.Radius.Services)
		})
	}
}

func TestBuildPlanRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(*runbooks.PlanInput)
		want string
	}{
		{"too few answers", func(in *runbooks.PlanInput) { in.Planned = nil }, "0 answers for 1 actions"},
		{"no suspect", func(in *runbooks.PlanInput) { in.Suspect = nil }, "none is suspected"},
		{"a suspect of another target", func(in *runbooks.PlanInput) { in.Suspect = suspect("nats.kv", "nats", "config/checkout") }, "does not undo"},
		{"a suspect of another source", func(in *runbooks.PlanInput) {
			in.Suspect = suspect("github.deployments", "github", "shop/checkout")
		}, "does not undo"},
		{"no maximum time", func(in *runbooks.PlanInput) { in.Option.Actions[0].MaxTime = 0 }, "max_time"},
		{"a state without digest", func(in *runbooks.PlanInput) { in.Planned[0].To.Digest = "" }, "need digests"},
		{"no incident", func(in *runbooks.PlanInput) { in.Incident = "" }, "must be set"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := planInput(t)
			tt.edit(&in)
			_, err := runbooks.BuildPlan(in)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestBuildPlanLeavesOutWhatIsThereAlready(t *testing.T) {
	t.Parallel()
	in := planInput(t)
	second := in.Option.Actions[0]
	second.Target.Path = "config/checkout"
	in.Option.Actions = append(in.Option.Actions, second)
	in.Planned = append(in.Planned, runbooks.Planned{From: state("c1"), To: state("c1"), Reversible: true, Preflight: ok("revision exists")})
	o, err := runbooks.BuildPlan(in)
	require.NoError(t, err)
	require.False(t, o.Blocked)
	require.Len(t, o.Plan.Actions, 1)
	require.Equal(t, "revision exists (nats/config/checkout)", o.Preflight[1].Name)
	require.Equal(t, "already there", o.Preflight[2].Name)
	require.Equal(t, 10*time.Second, o.ExpectedTime, "one driver does not know, so the runbook's figure stands")
}

func TestSteps(t *testing.T) {
	t.Parallel()
	o := planInput(t).Option
	steps, err := runbooks.Steps(o, onset)
	require.NoError(t, err)
	require.Equal(t, []runbooks.Step{{Kind: "nats.kv", Target: incident.Target{System: "nats", Path: "releases/checkout"}, Before: onset}}, steps)
	_, err = runbooks.Steps(o, time.Time{})
	require.ErrorContains(t, err, "nothing says before when")
	o.Actions[0].Revision = "7"
	steps, err = runbooks.Steps(o, time.Time{})
	require.NoError(t, err)
	require.Equal(t, "7", steps[0].Revision)
	require.True(t, steps[0].Before.IsZero())
}

func TestUndoesChange(t *testing.T) {
	t.Parallel()
	o := runbooks.OptionSpec{Undoes: []string{"nats.kv", "github.deployments"}, Actions: []runbooks.ActionSpec{{Target: incident.Target{System: "nats", Path: "releases/a"}}}}
	require.True(t, o.UndoesChange(suspect("nats.kv", "nats", "releases/a").Change))
	require.False(t, o.UndoesChange(suspect("nats.kv", "nats", "releases/b").Change), "another target of the same system")
	require.True(t, o.UndoesChange(suspect("github.deployments", "github", "shop/a").Change), "seen from another system")
	require.False(t, o.UndoesChange(suspect("helm", "cluster", "a").Change))
	require.False(t, runbooks.OptionSpec{}.UndoesChange(suspect("nats.kv", "nats", "releases/a").Change), "it stands alone")
}

func TestRadius(t *testing.T) {
	t.Parallel()
	c := shop(t)
	action := func(path string, reversible bool) incident.Action {
		return incident.Action{Kind: "nats.kv", Target: incident.Target{System: "nats", Path: path}, From: state("a"), To: state("b"), Reversible: reversible}
	}
	plan := func(service string, s incident.Strategy, actions ...incident.Action) incident.Plan {
		return incident.Plan{Service: service, Strategy: s, Actions: actions}
	}
	for _, tt := range []struct {
		name   string
		plan   incident.Plan
		option runbooks.OptionSpec
		want   incident.BlastRadius
	}{
		{
			"one service and who calls it", plan("payments", incident.StrategyRollback, action("releases/payments", true)),
			runbooks.OptionSpec{},
			incident.BlastRadius{
				Services:   []incident.Reach{{Name: "payments", Reason: "its nats/releases/payments is changed"}},
				Dependents: []incident.Reach{{Name: "checkout", Reason: "it calls payments"}, {Name: "storefront", Reason: "it reaches payments over 2 calls, by way of checkout"}},
			},
		},
		{
			"restoring writes what is shared", plan("payments", incident.StrategyRestore, action("releases/payments", true)),
			runbooks.OptionSpec{},
			incident.BlastRadius{
				Services:   []incident.Reach{{Name: "payments", Reason: "its nats/releases/payments is changed"}},
				Dependents: []incident.Reach{{Name: "checkout", Reason: "it calls payments"}, {Name: "storefront", Reason: "it reaches payments over 2 calls, by way of checkout"}},
				SharedData: []incident.Reach{{Name: "orders-db", Reason: "restoring writes it; it is used by checkout, payments"}},
			},
		},
		{
			"what the runbook says", plan("catalogue", incident.StrategyRollback, action("releases/catalogue", true)),
			runbooks.OptionSpec{SharedData: []string{"orders-db"}, Global: "the flag has no segments"},
			incident.BlastRadius{
				Services:   []incident.Reach{{Name: "catalogue", Reason: "its nats/releases/catalogue is changed"}},
				Dependents: []incident.Reach{{Name: "storefront", Reason: "it calls catalogue"}, {Name: "payments", Reason: "it reaches catalogue over 2 calls, by way of storefront"}, {Name: "checkout", Reason: "it reaches catalogue over 3 calls, by way of payments"}},
				SharedData: []incident.Reach{{Name: "orders-db", Reason: "the runbook says that the option writes it; it is used by checkout, payments"}},
				Global:     &incident.Reach{Name: "all customers", Reason: "the flag has no segments"},
			},
		},
		{
			"a path named after another service", plan("catalogue", incident.StrategyRollback, action("deployment/shop/checkout-api", true)),
			runbooks.OptionSpec{},
			incident.BlastRadius{
				Services: []incident.Reach{
					{Name: "catalogue", Reason: "its nats/deployment/shop/checkout-api is changed"},
					{Name: "checkout", Reason: "nats/deployment/shop/checkout-api is named after it"},
				},
				Dependents: []incident.Reach{{Name: "storefront", Reason: "it calls catalogue"}, {Name: "payments", Reason: "it reaches catalogue over 2 calls, by way of storefront"}},
			},
		},
		{
			"an action of another service", plan("storefront", incident.StrategyRollback, action("x", true)),
			runbooks.OptionSpec{Actions: []runbooks.ActionSpec{{Kind: "nats.kv", Target: incident.Target{System: "nats", Path: "x"}, Service: "catalogue"}}},
			incident.BlastRadius{
				Services:   []incident.Reach{{Name: "catalogue", Reason: "its nats/x is changed"}},
				Dependents: []incident.Reach{{Name: "storefront", Reason: "it calls catalogue"}, {Name: "payments", Reason: "it reaches catalogue over 2 calls, by way of storefront"}, {Name: "checkout", Reason: "it reaches catalogue over 3 calls, by way of payments"}},
			},
		},
		{
			"a service that nobody knows", plan("nowhere", incident.StrategyRollback, action("releases/nowhere", false)),
			runbooks.OptionSpec{},
			incident.BlastRadius{
				Services:     []incident.Reach{{Name: "nowhere", Reason: "its nats/releases/nowhere is changed"}},
				Global:       &incident.Reach{Name: "unknown", Reason: "nowhere is not in the service catalogue, so what else is touched is not known"},
				Irreversible: []incident.Reach{{Name: "nats/releases/nowhere", Reason: "nats.kv has no exact undo here"}},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, runbooks.Radius(tt.plan, c, tt.option))
		})
	}
	unknown := runbooks.Radius(plan("payments", incident.StrategyRollback), nil, runbooks.OptionSpec{})
	require.NotNil(t, unknown.Global, "without a catalogue nothing is known")
	require.Len(t, unknown.Services, 1)
}

func TestBuildPlanOfAMigrationTouchesSharedData(t *testing.T) {
	t.Parallel()
	in := planInput(t)
	in.Suspect.Change.Kind = incident.ChangeMigration
	o, err := runbooks.BuildPlan(in)
	require.NoError(t, err)
	require.Equal(t, "orders-db", o.Radius.SharedData[0].Name)
	require.True(t, strings.HasPrefix(o.Radius.SharedData[0].Reason, "undoing a migration changes it"))
}

func TestBuildPlanOfAnIrreversibleOptionIsAOneWayDoor(t *testing.T) {
	t.Parallel()
	in := planInput(t)
	in.Option.Rung = incident.RungIrreversible
	o, err := runbooks.BuildPlan(in)
	require.NoError(t, err)
	require.True(t, o.OneWay(), "whatever the driver says")
	require.Equal(t, "the runbook says that it can not be undone", o.Radius.Irreversible[0].Reason)
}
