package activities_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// measuring is the default policy's tiers, by what is measured.
const measuring = `
apiVersion: backout.dev/v1
kind: Policy
metadata: {name: measuring}
facts:
  - {name: wide, cel: radius.traffic_share > 0.5, means: touches most of the traffic}
tiers:
  - {tier: tier-3, when: [global, irreversible, wide], approvals: [{roles: [service_owner]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 15m}
  - {tier: tier-2, when: [several_services, shared_data], approvals: [{roles: [incident_commander]}], requester_may_approve: false, author_may_be_sole_approver: false, expires_after: 15m}
  - {tier: tier-1, when: [always], approvals: [{roles: [on_call]}], requester_may_approve: true, author_may_be_sole_approver: false, expires_after: 15m}
severity:
  - {severities: [sev1, sev2], from: tier-2, to: tier-1, cel: slo_burn > 5, reason: it burns}
`

// measured is a world whose checkout has that share of the traffic, and whose
// errors are that high; a share below zero does not answer.
func measured(t *testing.T, share, errorRatio float64) (*world, *activities.Activities) {
	t.Helper()
	w := broken()
	w.series = func(query string, from, until time.Time, step time.Duration) ([]incident.Series, error) {
		v := errorRatio
		if query == `share{service="checkout"}` {
			v = share
		}
		if v < 0 || !from.Before(until) || step <= 0 || strings.Contains(query, "{service}") {
			return nil, errors.New("no answer; password=hunter2hunter2")
		}
		return []incident.Series{{Points: []incident.Point{{At: until, Value: v}}}}, nil
	}
	a := w.activities(t)
	policy, err := approvals.ParsePolicy(approvals.File{Name: "policy.yaml", Content: []byte(measuring)})
	require.NoError(t, err)
	a.Policy = policy
	a.Catalogue, err = runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(`
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: checkout
  annotations:
    pagerduty.com/service-id: PCHECK
    backout.dev/tier: revenue
    backout.dev/owners: ben@example.com
    backout.dev/metrics: main
    backout.dev/traffic-share: share{service="{service}"}
spec: {type: service, lifecycle: production, owner: shop}
`)})
	require.NoError(t, err)
	return w, a
}

func TestCollectOptionsMeasures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		share      float64
		errorRatio float64
		back, off  incident.Tier
		said       string
	}{
		{"little traffic, fast burn", 0.1, 0.2, incident.TierOnCall, incident.TierOnCall, "measured: checkout 10 %"},
		{"little traffic, slow burn", 0.1, 0.02, incident.TierOnCall, incident.TierCommander, "measured: checkout 10 %"},
		{"little traffic, burn not known", 0.1, -1, incident.TierOnCall, incident.TierCommander, "measured: checkout 10 %"},
		{"most traffic", 0.9, 0.2, incident.TierCommanderAndOwner, incident.TierCommanderAndOwner, "measured: checkout 90 %"},
		{"traffic not known", -1, 0.2, incident.TierCommanderAndOwner, incident.TierCommanderAndOwner, "checkout: no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, a := measured(t, tt.share, tt.errorRatio)
			got, err := a.CollectOptions(t.Context(), collectInput())
			require.NoError(t, err)
			require.Empty(t, got.Notes)
			back, off := optionNamed(t, got, "config-back"), optionNamed(t, got, "flag-off")
			require.Equal(t, tt.back, back.Tier, back.TierReason)
			require.Equal(t, tt.off, off.Tier, off.TierReason)
			require.Contains(t, back.Radius.TrafficShare.Reason, tt.said)
			require.NotContains(t, back.Radius.TrafficShare.Reason, "hunter2")
			require.NotContains(t, back.SLOBurn.Reason, "hunter2")
			require.Nil(t, back.Radius.Replicas, "nobody says how to measure them")
		})
	}
}

// TestDecideMeasuresAnew: what a decision was shown with may be old or made up,
// and does not count.
func TestDecideMeasuresAnew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		share      float64
		errorRatio float64
		tier       incident.Tier
		forge      func(*incident.Option)
		want       incident.Outcome
		says       string
	}{
		{"as it was", 0.1, 0.2, incident.TierOnCall, nil, incident.OutcomeApproved, "on-call approved (Ada)"},
		{"it has most of the traffic by now", 0.9, 0.2, incident.TierOnCall, func(o *incident.Option) { o.Radius.TrafficShare = &incident.Measured{Value: new(0.1)} }, incident.OutcomeDenied, "Ada is not service owner"},
		{"it can not be measured any more", -1, 0.2, incident.TierOnCall, func(o *incident.Option) { o.Radius.TrafficShare = &incident.Measured{Value: new(0.1)} }, incident.OutcomeDenied, "Ada is not service owner"},
		{"the fire is out", 0.1, 0.001, incident.TierOnCall, func(o *incident.Option) {
			o.Radius.SharedData = []incident.Reach{{Name: "orders-db"}}
			o.SLOBurn = &incident.Measured{Value: new(1000.0)}
		}, incident.OutcomeDenied, "Ada is not incident commander"},
		{"the fire burns", 0.1, 0.2, incident.TierOnCall, func(o *incident.Option) {
			o.Radius.SharedData = []incident.Reach{{Name: "orders-db"}}
		}, incident.OutcomeApproved, "on-call approved (Ada)"},
		{"less authority than was shown", 0.1, 0.2, incident.TierCommanderAndOwner, nil, incident.OutcomeDenied, "Ada is not service owner"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, a := measured(t, tt.share, tt.errorRatio)
			w.onCall["PCHECK"] = []incident.Person{ada}
			in := ask(t, incident.TierOnCall, "ada", "1")
			in.Option.Tier = tt.tier
			if tt.forge != nil {
				tt.forge(&in.Option)
			}
			got, err := click(t, a, in)
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Decision.Outcome, got.Decision.Sentence)
			require.Contains(t, got.Decision.Sentence, tt.says)
			require.Equal(t, a.Policy.Digest(), got.Decision.PolicyDigest)
		})
	}
}

// TestDecideAsksNobodyWithoutNeed: the default policy looks at no measurement.
func TestDecideAsksNobodyWithoutNeed(t *testing.T) {
	t.Parallel()
	w, a := measured(t, 0.9, 0.2)
	a.Policy = approvals.Default()
	w.onCall["PCHECK"] = []incident.Person{ada}
	got, err := click(t, a, ask(t, incident.TierOnCall, "ada", "1"))
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeApproved, got.Decision.Outcome)
	require.NotContains(t, w.calls, "query")
}
