package views

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNumber(t *testing.T) {
	t.Parallel()
	of := func(v float64) *float64 { return &v }
	tests := []struct {
		name  string
		value *float64
		unit  string
		want  string
	}{
		{"nothing", nil, "ratio", "no data"},
		{"ratio", of(0.2528), "ratio", "25.3 %"},
		{"no errors", of(0), "ratio", "0 %"},
		{"few errors", of(0.00012), "ratio", "0.012 %"},
		{"every request", of(1), "ratio", "100 %"},
		{"milliseconds", of(0.02146), "seconds", "21.5 ms"},
		{"seconds", of(2.5), "seconds", "2.5 s"},
		{"minutes", of(754.4), "seconds", "754 s"},
		{"another unit", of(12345.6), "messages", "12346 messages"},
		{"no unit", of(3), "", "3"},
		{"tiny", of(0.00000123), "", "1.23e-06"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, number(tt.value, tt.unit))
		})
	}
	require.Equal(t, "< 2 %", objective("< 0.02", "ratio"))
	require.Equal(t, "< 250 ms", objective("< 0.25", "seconds"))
	require.Equal(t, "at most some", objective("at most some", "ratio"))
}
