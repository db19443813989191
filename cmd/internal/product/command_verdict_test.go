package product

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
	"github.com/backout/backout/workflows/recovery/seriesfile"
)

// seriesOf is an hour of minutes with a change in the middle, at 1800 seconds.
func seriesOf(before, after float64) string {
	var b strings.Builder
	b.WriteString("time,value\n")
	for i := range 60 {
		v := before
		if i >= 30 {
			v = after
		}
		fmt.Fprintf(&b, "%d,%g\n", i*60, v+float64(i*7%5)/100)
	}
	return b.String()
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	well, sick := write(t, "well.csv", seriesOf(1, 1)), write(t, "sick.csv", seriesOf(1, 3))
	verdict := func(args ...string) seriesfile.Report {
		status, out, errs := run(t, nil, append([]string{"verdict", "--change", "1800"}, args...)...)
		require.Equal(t, ExitOK, status, errs)
		var r seriesfile.Report
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		require.NotEmpty(t, r.Reason)
		return r
	}
	require.Equal(t, incident.VerdictRecovered, verdict("--series", well).Verdict)
	require.Equal(t, incident.VerdictNotRecovered, verdict("--series", sick).Verdict)
	require.Equal(t, incident.VerdictNotRecovered, verdict("--series", sick, "--objective", "below 2", "--unit", "seconds").Verdict)
	r := verdict("--series", well, "--rollback", "2100", "--gap", "0s", "--warmup", "2m", "--tolerance", "0.5", "--min-points", "6")
	require.Equal(t, incident.VerdictRecovered, r.Verdict, r.Reason)
	require.Equal(t, "rollback", r.Asked)
	require.Equal(t, int64(1800), r.Baseline.Until.Unix())
	require.Equal(t, int64(2220), r.After.From.Unix())
	require.InDelta(t, 60, r.Step, 0)

	status, _, errs := run(t, nil, "verdict", "--series", sick, "--change", "1800", "--require", "recovered")
	require.Equal(t, ExitFailed, status)
	require.Contains(t, errs, `the verdict is "not recovered", and "recovered" is required`)
	status, _, _ = run(t, nil, "verdict", "--series", well, "--change", "1800", "--require", "recovered")
	require.Equal(t, ExitOK, status)
}

func TestVerdictRefuses(t *testing.T) {
	t.Parallel()
	well := write(t, "well.csv", seriesOf(1, 1))
	bad := write(t, "bad.csv", "time,value\n0,1\n60,high\n")
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no file", []string{"--change", "1800"}, "name a file with --series"},
		{"a file that is not there", []string{"--change", "1800", "--series", filepath.Join(t.TempDir(), "none.csv")}, "none.csv"},
		{"a value that is none", []string{"--change", "1800", "--series", bad}, bad + `:3: "high" is no number`},
		{"no change", []string{"--series", well}, "the time of the change is needed"},
		{"a time that is none", []string{"--series", well, "--change", "noon"}, `--change: "noon" is no time`},
		{"objective", []string{"--series", well, "--change", "1800", "--objective", "low"}, "is no objective"},
		{"verdict that is none", []string{"--series", well, "--change", "1800", "--require", "healthy"}, `--require is "healthy"`},
		{"argument", []string{well}, "unknown command"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, out, errs := run(t, nil, append([]string{"verdict"}, tt.args...)...)
			require.Equal(t, ExitUsage, status)
			require.Empty(t, out)
			require.Contains(t, errs, tt.want)
		})
	}
}

func TestVerdictSchema(t *testing.T) {
	t.Parallel()
	status, out, _ := run(t, nil, "verdict", "--schema")
	require.Equal(t, ExitOK, status)
	require.JSONEq(t, string(seriesfile.Schema), out)
}
