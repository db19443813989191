package runbooks_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// component is a component of the catalogue with annotations.
func component(name, annotations string) string {
	return "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: " + name +
		"\n  annotations:\n    backout.dev/tier: revenue\n" + annotations + "spec: {type: service, lifecycle: production, owner: shop}\n---\n"
}

func measuredShop(t *testing.T) *runbooks.Catalogue {
	t.Helper()
	text := component("payments", `    backout.dev/metrics: prom
    backout.dev/traffic-share: share{service="{service}"}
    backout.dev/replicas: up{service="payments"}
`) + component("checkout", `    backout.dev/metrics: other
    backout.dev/traffic-share: share{service="{service}"}
`) + component("catalogue", "")
	c, err := runbooks.ParseCatalogue(runbooks.File{Name: "f", Content: []byte(text)})
	require.NoError(t, err)
	return c
}

func radiusOf(services ...string) incident.BlastRadius {
	var r incident.BlastRadius
	for _, s := range services {
		r.Services = append(r.Services, incident.Reach{Name: s})
	}
	return r
}

func TestLiveQueriesNameTheService(t *testing.T) {
	t.Parallel()
	c := measuredShop(t)
	require.Equal(t, []runbooks.LiveQuery{
		{Fact: incident.LiveTrafficShare, Service: "payments", System: "prom", Query: `share{service="payments"}`},
		{Fact: incident.LiveReplicas, Service: "payments", System: "prom", Query: `up{service="payments"}`},
		{Fact: incident.LiveTrafficShare, Service: "checkout", System: "other", Query: `share{service="checkout"}`},
	}, runbooks.LiveQueries(radiusOf("payments", "checkout", "catalogue", `x"} or up{`), c))
	require.Empty(t, runbooks.LiveQueries(radiusOf("payments"), nil))
	plain, _ := c.Service("catalogue")
	require.Nil(t, plain.Metrics)
}

func TestMetricsOfTheCatalogueAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, annotations, want string }{
		{"nobody to ask", "    backout.dev/traffic-share: up\n", "f:7:32: backout.dev/traffic-share: nobody would answer the query"},
		{"nothing to ask", "    backout.dev/metrics: prom\n", "there is no query for it"},
		{"empty", "    backout.dev/metrics: prom\n    backout.dev/customers: ' '\n", "backout.dev/customers: the query is empty"},
		{"too long", "    backout.dev/metrics: prom\n    backout.dev/regions: " + strings.Repeat("x", 2001) + "\n", "more than 2000 characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := runbooks.ParseCatalogue(runbooks.File{Name: "f", Content: []byte(component("payments", tt.annotations))})
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestLiveValue(t *testing.T) {
	t.Parallel()
	one := func(values ...float64) []incident.Series {
		var s incident.Series
		for _, v := range values {
			s.Points = append(s.Points, incident.Point{At: onset, Value: v})
		}
		return []incident.Series{s}
	}
	for _, tt := range []struct {
		name   string
		fact   incident.LiveFact
		series []incident.Series
		want   float64
		err    string
	}{
		{"the newest", incident.LiveTrafficShare, one(0.1, 0.2), 0.2, ""},
		{"nothing", incident.LiveTrafficShare, one(0), 0, ""},
		{"a hair above one", incident.LiveTrafficShare, one(1.0001), 1, ""},
		{"a percentage", incident.LiveTrafficShare, one(23), 0, "more than 1"},
		{"many replicas", incident.LiveReplicas, one(23), 23, ""},
		{"no series", incident.LiveTrafficShare, nil, 0, "there is no data"},
		{"no point", incident.LiveTrafficShare, one(), 0, "there is no data"},
		{"several series", incident.LiveTrafficShare, append(one(0.1), one(0.2)...), 0, "2 series, want one"},
		{"no number", incident.LiveTrafficShare, one(0.1, math.NaN()), 0, "the value is NaN"},
		{"no end", incident.LiveCustomers, one(math.Inf(1)), 0, "the value is +Inf"},
		{"below zero", incident.LiveCustomers, one(-1), 0, "the value is -1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := runbooks.LiveValue(tt.fact, tt.series)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.InDelta(t, tt.want, got, 1e-9)
		})
	}
}

func TestWithLive(t *testing.T) {
	t.Parallel()
	answer := func(f incident.LiveFact, service string, value float64, failed string) runbooks.LiveAnswer {
		return runbooks.LiveAnswer{LiveQuery: runbooks.LiveQuery{Fact: f, Service: service}, Value: value, Failed: failed}
	}
	const share = incident.LiveTrafficShare
	for _, tt := range []struct {
		name     string
		services []string
		answers  []runbooks.LiveAnswer
		want     string
		reason   string
	}{
		{"one service", []string{"payments"}, []runbooks.LiveAnswer{answer(share, "payments", 0.234, "")}, "0.234", "measured: payments 23.4 %"},
		{"two together", []string{"payments", "checkout"}, []runbooks.LiveAnswer{answer(share, "payments", 0.25, ""), answer(share, "checkout", 0.5, "")}, "0.75", "measured: payments 25 %, checkout 50 %"},
		{"at most all of it", []string{"payments", "checkout"}, []runbooks.LiveAnswer{answer(share, "payments", 0.75, ""), answer(share, "checkout", 0.5, "")}, "1", "measured"},
		{"one that failed", []string{"payments", "checkout"}, []runbooks.LiveAnswer{answer(share, "payments", 0.25, ""), answer(share, "checkout", 0, "there is no data")}, "not known", "checkout: there is no data"},
		{"one that nobody measures", []string{"payments", "catalogue"}, []runbooks.LiveAnswer{answer(share, "payments", 0.25, "")}, "not known", "the catalogue does not say how to measure it for catalogue"},
		{"of other services", []string{"payments"}, []runbooks.LiveAnswer{answer(share, "checkout", 0.25, "")}, "nil", ""},
		{"nobody measures anything", []string{"catalogue"}, nil, "nil", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// What was shown before does not stay.
			r := radiusOf(tt.services...)
			r.TrafficShare, r.Regions = &incident.Measured{Value: new(0.001)}, &incident.Measured{Value: new(1.0)}
			got := runbooks.WithLive(r, tt.answers)
			require.Nil(t, got.Regions)
			said := "nil"
			if got.TrafficShare != nil {
				require.Contains(t, got.TrafficShare.Reason, tt.reason)
				said = "not known"
				if v, ok := got.Measured(share); ok {
					said = fmt.Sprint(v)
				}
			}
			require.Equal(t, tt.want, said)
		})
	}
}
