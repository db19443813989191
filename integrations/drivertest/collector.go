package drivertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
)

// maxEvidence bounds all documents of one collector, in bytes: what is longer would be
// cut, and a collector knows best what to leave out.
const maxEvidence = 16 << 20

// CollectorCase is one collector with its real counterpart. A collector that bears the
// name of a kind of inverse needs none: law 9 of the kind tries it.
type CollectorCase struct {
	// Kind is the registered name, such as "postgres.query".
	Kind string
	// Start makes a fresh counterpart and says what to collect from it.
	Start func(tb testing.TB) *Scene
	// Silence says that a counterpart that does not answer is evidence of its own, with
	// a reason. Empty where it is an error.
	Silence string
	// FreeParams says that all parameters are handed on, so that there is none that the
	// collector does not know, with a reason. Empty where it knows its own.
	FreeParams string
	// Wrong are parameters for the target of the scene that can not be right, at least
	// one set where the collector knows any.
	Wrong []map[string]string
}

// Scene is something to collect from.
type Scene struct {
	// System is the configuration of a connection with exactly the rights that the
	// collector asks for, and Away the same with nobody at the other end.
	System, Away driver.System
	// Request is what to collect. The suite sets the name of the system and the window.
	Request driver.CollectRequest
	// Says is what the evidence must contain.
	Says []string
	// Digest is a digest of the counterpart's state, read past the driver.
	Digest func(ctx context.Context) (string, error)
	// Canaries are the secrets in the credentials, at least one, of 8 bytes or more.
	Canaries []string
}

var collectorCases = map[string]CollectorCase{}

// RegisterCollector makes cases known to RunCollectors. It panics on a duplicate.
func RegisterCollector(cases ...CollectorCase) {
	for _, c := range cases {
		if _, dup := collectorCases[c.Kind]; dup || c.Kind == "" || c.Start == nil {
			panic(fmt.Sprintf("drivertest: collector case %q is empty or registered twice", c.Kind))
		}
		collectorCases[c.Kind] = c
	}
}

// RunCollectors tries the laws of collectors on every collector that is registered with
// the driver package. One without a case fails, and so does a case without a collector.
//
//  1. It captures what there is, each document with a name and a media type, and not too
//     much.
//  2. It changes nothing.
//  3. A parameter that it does not know is refused, and so is a wrong one: when the
//     runbook is loaded, and when it collects.
//  4. It ends when it is told to.
//  5. A counterpart that is away is an error, or evidence where the case says so, and
//     not a wait without end.
//  6. No secret of its credentials is in anything that it says.
func RunCollectors(t *testing.T) {
	t.Helper()
	_, _, registered, _ := driver.Known()
	var kinds []string
	for _, d := range driver.Kinds() {
		kinds = append(kinds, d.Kind)
	}
	for _, name := range kinds {
		if _, ok := collectorCases[name]; !ok && driver.TakesParams(name) {
			t.Errorf("collector %q knows parameters: write a case and register it where the laws are run", name)
		}
	}
	for _, problem := range uncollected(registered, kinds, slices.Sorted(maps.Keys(collectorCases))) {
		t.Error(problem)
	}
	for _, name := range slices.Sorted(maps.Keys(collectorCases)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			collectorLaws(t, collectorCases[name])
		})
	}
}

// uncollected lists the collectors that nothing tries, and the cases that try nothing.
func uncollected(registered, kinds, cases []string) []string {
	var problems []string
	for _, name := range registered {
		if !slices.Contains(kinds, name) && !slices.Contains(cases, name) {
			problems = append(problems, fmt.Sprintf("collector %q has no case: write one and register it where the laws are run", name))
		}
	}
	for _, name := range cases {
		if !slices.Contains(registered, name) {
			problems = append(problems, fmt.Sprintf("collector case %q has no collector", name))
		}
	}
	return problems
}

// collectorLaws tries one collector.
func collectorLaws(tb testing.TB, c CollectorCase) {
	scene := c.Start(tb)
	require.NotEmpty(tb, scene.Says, "the case does not say what the evidence must contain")
	require.NotEmpty(tb, scene.Canaries, "no canary is planted")
	require.NotNil(tb, scene.Digest, "the case can not tell whether anything was changed")
	require.True(tb, len(c.Wrong) > 0 || !driver.TakesParams(c.Kind), "law 3: the case has no wrong parameters")
	require.NoError(tb, driver.CheckParams(c.Kind, scene.Request.Target, scene.Request.Params), "law 3: what it collects would not be loaded")
	var said transcript
	logs := captureLogs()
	collect := func(ctx context.Context, system driver.System, change func(req *driver.CollectRequest)) ([]driver.Evidence, error) {
		set, err := driver.Open(tb.Context(), []driver.System{system})
		require.NoError(tb, err)
		defer func() { _ = set.Close() }() // Whoever is away may have cut it.
		collector, err := set.Collector(c.Kind, system.Name)
		require.NoError(tb, err)
		req := scene.Request
		req.Target.System = system.Name
		req.From, req.Until = time.Now().Add(-time.Hour), time.Now()
		req.Params = maps.Clone(scene.Request.Params)
		change(&req)
		docs, err := collector.Collect(ctx, req)
		said.add("collect", docs, err)
		for _, d := range docs {
			said.add("evidence "+d.Name+" "+d.MediaType, string(d.Content)+string(d.From), nil)
		}
		return docs, err
	}
	as := func(*driver.CollectRequest) {}
	bounded, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()

	before, err := scene.Digest(bounded)
	require.NoError(tb, err)
	docs, err := collect(bounded, scene.System, as)
	require.NoError(tb, err)
	require.NotEmpty(tb, docs, "law 1: nothing was captured")
	size, all := 0, ""
	for _, d := range docs {
		require.NotEmpty(tb, d.Name, "law 1: a document has no name")
		require.NotEmpty(tb, d.MediaType, "law 1: %s has no media type", d.Name)
		size += len(d.Content) + len(d.From)
		all += d.Name + "\n" + string(d.Content) + string(d.From) + "\n"
	}
	require.LessOrEqual(tb, size, maxEvidence, "law 1: too much was captured")
	for _, want := range scene.Says {
		require.Contains(tb, all, want, "law 1: it was not captured")
	}
	after, err := scene.Digest(bounded)
	require.NoError(tb, err)
	require.Equal(tb, before, after, "law 2: something was changed")

	wrong := slices.Clone(c.Wrong)
	if c.FreeParams == "" {
		unknown := map[string]string{"no-such-parameter": "x"}
		maps.Copy(unknown, scene.Request.Params)
		wrong = append(wrong, unknown)
	}
	for _, params := range wrong {
		require.ErrorIs(tb, driver.CheckParams(c.Kind, scene.Request.Target, params), driver.ErrInvalid, "law 3: %v would be loaded", params)
		docs, err = collect(bounded, scene.System, func(req *driver.CollectRequest) { req.Params = params })
		require.ErrorIs(tb, err, driver.ErrInvalid, "law 3: %v was not refused", params)
		require.Empty(tb, docs)
	}
	ended, end := context.WithCancel(tb.Context())
	end()
	docs, err = collect(ended, scene.System, as)
	require.True(tb, err != nil || c.Silence != "", "law 4: it went on although it was told to end: %v", docs)
	_, err = collect(bounded, scene.Away, as)
	require.NoError(tb, bounded.Err(), "law 5: it waited without end")
	require.Equal(tb, c.Silence == "", err != nil, "law 5: %v", err)
	for _, canary := range scene.Canaries {
		require.GreaterOrEqual(tb, len(canary), minCanary)
		requireAbsent(tb, "law 6: what the collector said", said.String(), canary)
		requireAbsent(tb, "law 6: the log", logs.String(), canary)
	}
}
