package drivertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
)

// CounterCase is one counter with its real counterpart.
type CounterCase struct {
	// Kind is the registered name, such as "postgres.count".
	Kind string
	// Start makes a fresh counterpart and says what to count in it.
	Start func(tb testing.TB) *CountScene
}

// CountScene is something to count in.
type CountScene struct {
	// System is the configuration of a connection with exactly the rights that the
	// counter asks for, and Away the same with nobody at the other end.
	System, Away driver.System
	// Query counts Want.
	Query string
	Want  int64
	// Refused are queries that are no count, write, or read what the credential may
	// not, by what they are.
	Refused map[string]string
	// Digest is a digest of the counterpart's state, read past the driver.
	Digest func(ctx context.Context) (string, error)
	// Canaries are the secrets in the credentials, at least one, of 8 bytes or more.
	Canaries []string
}

var counterCases = map[string]CounterCase{}

// RegisterCounter makes cases known to RunCounters. It panics on a duplicate.
func RegisterCounter(cases ...CounterCase) {
	for _, c := range cases {
		if _, dup := counterCases[c.Kind]; dup || c.Kind == "" || c.Start == nil {
			panic(fmt.Sprintf("drivertest: counter case %q is empty or registered twice", c.Kind))
		}
		counterCases[c.Kind] = c
	}
}

// RunCounters tries the laws of counters on every counter that is registered with the
// driver package. One without a case fails, and so does a case without a counter.
//
//  1. It counts what there is.
//  2. What is no count is an error and no number.
//  3. It changes nothing, whatever it is asked.
//  4. It ends when it is told to, and a counterpart that is away is an error.
//  5. No secret of its credentials is in anything that it says.
func RunCounters(t *testing.T) {
	t.Helper()
	require.Equal(t, driver.Counters(), slices.Sorted(maps.Keys(counterCases)), "each counter has a case, and each case a counter")
	for _, name := range driver.Counters() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counterLaws(t, counterCases[name])
		})
	}
}

// counterLaws tries one counter.
func counterLaws(tb testing.TB, c CounterCase) {
	tb.Helper()
	scene := c.Start(tb)
	require.NotEmpty(tb, scene.Refused, "the case does not say what is refused")
	require.NotEmpty(tb, scene.Canaries, "no canary is planted")
	require.Equal(tb, scene.System.Type, driver.SystemOf(c.Kind))
	var said transcript
	logs := captureLogs()
	count := func(ctx context.Context, system driver.System, query string) (int64, error) {
		set, err := driver.Open(tb.Context(), []driver.System{system})
		require.NoError(tb, err)
		defer func() { _ = set.Close() }() // Whoever is away may have cut it.
		counter, err := set.Counter(system.Name)
		require.NoError(tb, err)
		n, err := counter.Count(ctx, query)
		said.add("count", n, err)
		return n, err
	}
	bounded, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()

	before, err := scene.Digest(bounded)
	require.NoError(tb, err)
	n, err := count(bounded, scene.System, scene.Query)
	require.NoError(tb, err)
	require.Equal(tb, scene.Want, n, "law 1: it was miscounted")
	for _, what := range slices.Sorted(maps.Keys(scene.Refused)) {
		n, err := count(bounded, scene.System, scene.Refused[what])
		require.Error(tb, err, "law 2: %s was counted", what)
		require.NoError(tb, bounded.Err())
		require.Zero(tb, n, "law 2: %s has a number", what)
	}
	after, err := scene.Digest(bounded)
	require.NoError(tb, err)
	require.Equal(tb, before, after, "law 3: something was changed")

	ended, end := context.WithCancel(tb.Context())
	end()
	_, err = count(ended, scene.System, scene.Query)
	require.Error(tb, err, "law 4: it went on although it was told to end")
	_, err = count(bounded, scene.Away, scene.Query)
	require.NoError(tb, bounded.Err(), "law 4: it waited without end")
	require.Error(tb, err, "law 4: nobody was there")
	for _, canary := range scene.Canaries {
		require.GreaterOrEqual(tb, len(canary), minCanary)
		requireAbsent(tb, "law 5: what the counter said", said.String(), canary)
		requireAbsent(tb, "law 5: the log", logs.String(), canary)
	}
}
