package incident_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

func TestMeasuredIsKnownOrNot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		m     *incident.Measured
		want  float64
		known bool
	}{
		{"a value", &incident.Measured{Value: new(0.5)}, 0.5, true},
		{"nothing of it", &incident.Measured{Value: new(0.0)}, 0, true},
		{"nobody asked", nil, 0, false},
		{"not known", &incident.Measured{Reason: "there is no data"}, 0, false},
		{"no number", &incident.Measured{Value: new(math.NaN())}, 0, false},
		{"no end", &incident.Measured{Value: new(math.Inf(1))}, 0, false},
		{"below zero", &incident.Measured{Value: new(-0.5)}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, known := tt.m.Known()
			require.Equal(t, tt.known, known)
			require.InDelta(t, tt.want, got, 0)
		})
	}
}

func TestRadiusKeepsItsMeasurements(t *testing.T) {
	t.Parallel()
	var r incident.BlastRadius
	for i, f := range incident.LiveFacts() {
		_, known := r.Measured(f)
		require.False(t, known)
		*r.Live(f) = &incident.Measured{Value: new(float64(i) / 10)}
	}
	for i, f := range incident.LiveFacts() {
		v, known := r.Measured(f)
		require.True(t, known)
		require.InDelta(t, float64(i)/10, v, 1e-9, "each has a place of its own")
	}
	*r.TrafficShare.Value = 1.5
	_, known := r.Measured(incident.LiveTrafficShare)
	require.False(t, known, "no share is above one")
	for _, f := range []incident.LiveFact{incident.LiveSLOBurn, "", "title"} {
		require.Nil(t, r.Live(f))
		_, known := r.Measured(f)
		require.False(t, known)
	}
}
