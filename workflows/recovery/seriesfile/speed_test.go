package seriesfile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/recovery/seriesfile"
)

// BenchmarkHundredThousand judges 100,000 samples and says how many times as long as
// reading them that takes.
func BenchmarkHundredThousand(b *testing.B) {
	s := telemetry{
		name: "ten weeks of minutes", step: time.Minute, before: 95_000, during: 1000, after: 4000, sigma: 1, level: 100,
		make: steady(func(i int) float64 { return 100 + 20*wave(i, 1440, 0) }),
	}
	e := generate(s, "shift up", "back", variedSeed, 0)
	var reading, judging time.Duration
	for b.Loop() {
		start := time.Now()
		f, err := seriesfile.Parse("generated.csv", []byte(e.csv), seriesfile.Columns{})
		require.NoError(b, err)
		read := time.Now()
		_, err = seriesfile.Judge(f, seriesfile.Question{Change: e.change, Rollback: e.rollback})
		require.NoError(b, err)
		reading, judging = reading+read.Sub(start), judging+time.Since(read)
	}
	b.ReportMetric(float64(judging)/float64(reading), "judging/reading")
	b.ReportMetric(float64(judging.Milliseconds())/float64(b.N), "ms-judging/op")
}
