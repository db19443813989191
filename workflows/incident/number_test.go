package incident_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		v           float64
		three, four string
	}{
		{0, "0", "0"},
		{1.5, "1.5", "1.5"},
		{0.0123456, "0.0123", "0.01235"},
		{-99.96, "-100", "-99.96"},
		{123.456, "123", "123.5"},
		{12345.6, "12346", "12346"},
		{0.0001, "0.0001", "0.0001"},
		{0.00001234567, "1.23e-05", "1.235e-05"},
		{123456789, "123456789", "123456789"},
		{1234567890, "1.23e+09", "1.235e+09"},
		{math.Inf(1), "+Inf", "+Inf"},
		{math.NaN(), "NaN", "NaN"},
	} {
		require.Equal(t, test.three, incident.Number(test.v, 3), "%v", test.v)
		require.Equal(t, test.four, incident.Number(test.v, 4), "%v", test.v)
	}
}
