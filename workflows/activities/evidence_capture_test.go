package activities_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/activities/redact/redacttest"
	"github.com/backout/backout/workflows/incident"
)

// gathering is systems whose collectors are functions, by kind.
type gathering struct {
	systems
	collect map[string]func(ctx context.Context, path string) ([]driver.Evidence, error)
}

func (g gathering) Collector(kind, system string) (driver.Collector, error) {
	collect, ok := g.collect[kind]
	if !ok {
		return g.systems.Collector(kind, system)
	}
	return collecting(collect), nil
}

type collecting func(ctx context.Context, path string) ([]driver.Evidence, error)

func (c collecting) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	return c(ctx, req.Target.Path)
}

// gather captures with a runbook that names these collectors, each with its own path.
func gather(t *testing.T, w *world, phase incident.EvidencePhase, collect map[string]func(ctx context.Context, path string) ([]driver.Evidence, error), specs ...string) (incident.Manifest, error) {
	t.Helper()
	var listed strings.Builder
	for _, spec := range specs {
		kind, path, _ := strings.Cut(spec, " ")
		fmt.Fprintf(&listed, "  - {collector: %s, target: {system: main, path: %s}}\n", kind, path)
	}
	before, _, _ := strings.Cut(book, "evidence:\n")
	_, after, _ := strings.Cut(book, "recovery:\n")
	rb := runbook(t, before+"evidence:\n"+listed.String()+"recovery:\n"+after)
	a := w.activities(t)
	a.Runbooks = []*runbooks.Runbook{rb}
	a.Systems = gathering{systems{w}, collect}
	in := capture(t, phase)
	in.Plan.RunbookDigest = rb.Digest
	return a.CaptureEvidence(t.Context(), in)
}

func text(name, content string) []driver.Evidence {
	return []driver.Evidence{{Name: name, MediaType: "text/plain", Content: []byte(content)}}
}

// TestCaptureKeepsToItsBudget has collectors that never answer, some of which do not
// even stop when they are told to. What answers is there, each of the others says why
// it is not, and the rollback waits no longer than the budget.
func TestCaptureKeepsToItsBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		deaf := make(chan struct{})
		var specs []string
		for n := range 30 {
			specs = append(specs, []string{"slow", "deaf"}[n%2]+fmt.Sprintf(" p%d", n))
		}
		specs = append(specs, "kubernetes.logs pod", "quick last")
		started := time.Now()
		m, err := gather(t, w, incident.EvidenceBefore, map[string]func(context.Context, string) ([]driver.Evidence, error){
			"slow": func(ctx context.Context, _ string) ([]driver.Evidence, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
			"deaf": func(context.Context, string) ([]driver.Evidence, error) {
				<-deaf
				return nil, nil
			},
			"kubernetes.logs": func(context.Context, string) ([]driver.Evidence, error) { return text("logs", "dying words"), nil },
			"quick":           func(context.Context, string) ([]driver.Evidence, error) { return text("quick", "x"), nil },
		}, specs...)
		took := time.Since(started)
		close(deaf)
		require.NoError(t, err)
		require.LessOrEqual(t, took, 20*time.Second, "the budget")
		require.Len(t, m.Items, 32, "each is there or says why not")
		require.NotEmpty(t, m.Items[30].Digest, "what is lost first starts first: %s", m.Items[30].Missing)
		late := 0
		for _, i := range m.Items[:30] {
			require.Empty(t, i.Digest)
			if strings.Contains(i.Missing, "there was no time left") {
				late++
				continue
			}
			require.Contains(t, i.Missing, "did not answer in time, which is 8s at most")
		}
		require.Positive(t, late)
		require.Contains(t, m.Items[31].Missing, "there was no time left", "it stands behind all others")
	})
}

// TestOneSlowCollectorCostsOnlyItself has one collector that never answers, with more
// behind it than run at a time.
func TestOneSlowCollectorCostsOnlyItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		specs := []string{"slow a"}
		for n := range 20 {
			specs = append(specs, fmt.Sprintf("second p%d", n))
		}
		m, err := gather(t, newWorld(), incident.EvidenceBefore, map[string]func(context.Context, string) ([]driver.Evidence, error){
			"slow": func(ctx context.Context, _ string) ([]driver.Evidence, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
			"second": func(_ context.Context, path string) ([]driver.Evidence, error) {
				<-time.After(time.Second)
				return text(path, "x"), nil
			},
		}, specs...)
		require.NoError(t, err)
		require.NotEmpty(t, m.Items[0].Missing)
		for _, i := range m.Items[1:] {
			require.Empty(t, i.Missing)
		}
	})
}

// TestCaptureStartsWithWhatIsLostFirst shows the order in which collectors start.
func TestCaptureStartsWithWhatIsLostFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		one := func(ctx context.Context, path string) ([]driver.Evidence, error) {
			mu.Lock()
			order = append(order, path)
			mu.Unlock()
			<-ctx.Done() // The next one starts when its time is over.
			return nil, ctx.Err()
		}
		var specs []string
		for n := range 8 {
			specs = append(specs, fmt.Sprintf("prometheus.range kept%d", n))
		}
		specs = append(specs, "other.kind changing")
		for n := range 8 {
			specs = append(specs, fmt.Sprintf("kubernetes.describe dying%d", n))
		}
		_, err := gather(t, newWorld(), incident.EvidenceBefore, map[string]func(context.Context, string) ([]driver.Evidence, error){
			"prometheus.range": one, "other.kind": one, "kubernetes.describe": one,
		}, specs...)
		require.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		for _, path := range order[:8] {
			require.Contains(t, path, "dying")
		}
		require.Contains(t, order[8:16], "changing")
	})
}

// TestCollectorsThatKnowBothSides shows what becomes of a document with what it is to
// be compared with, of an error beside documents, and who is told of the action.
func TestCollectorsThatKnowBothSides(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m, err := gather(t, w, incident.EvidenceBefore, map[string]func(context.Context, string) ([]driver.Evidence, error){
		"both": func(context.Context, string) ([]driver.Evidence, error) {
			return []driver.Evidence{{
				Name: "values", MediaType: "application/yaml",
				From: []byte("color: red\npassword: hunter2 hunter2\n"), Content: []byte("color: green\npassword: hunter3 hunter33\n"),
			}}, errors.New("the rest is gone")
		},
	}, "both a")
	require.NoError(t, err)
	require.Len(t, m.Items, 2)
	require.Equal(t, "text/x-diff; charset=utf-8", m.Items[0].MediaType)
	require.Equal(t, 2, m.Items[0].Redactions)
	require.Equal(t, "--- from\n+++ to\n@@ -1,2 +1,2 @@\n-color: red\n-password: [redacted:password/15]\n+color: green\n+password: [redacted:password/16]\n", string(w.blobs[m.Items[0].Digest]))
	require.Equal(t, "the rest is gone", m.Items[1].Missing)
}

// TestCollectorsAreToldOfTheAction shows that a collector knows what the plan does to
// its target, and only to its target.
func TestCollectorsAreToldOfTheAction(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a := w.activities(t)
	told := map[string]incident.Action{}
	var mu sync.Mutex
	a.Systems = telling{systems{w}, func(req driver.CollectRequest) {
		mu.Lock()
		defer mu.Unlock()
		told[req.Target.Path] = req.Action
	}}
	in := capture(t, incident.EvidenceBefore)
	_, err := a.CaptureEvidence(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, map[string]incident.Action{"config/checkout": in.Plan.Actions[0], "logs/checkout": {}}, told)
}

// telling is systems whose one collector tells what it was asked for.
type telling struct {
	systems
	tell func(req driver.CollectRequest)
}

func (s telling) Collector(string, string) (driver.Collector, error) { return s, nil }

func (s telling) Collect(_ context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	s.tell(req)
	return nil, nil
}

func TestCaptureSurvivesItsCollectors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		collect func(ctx context.Context, path string) ([]driver.Evidence, error)
		want    string
	}{
		{"one that panics", func(context.Context, string) ([]driver.Evidence, error) { panic("token=abcdefghijklmnop") }, "the driver crashed"},
		{"one that fails", func(context.Context, string) ([]driver.Evidence, error) {
			return nil, errors.New("dial db: password=hunter2hunter2")
		}, "dial db: password=[redacted:password/14]"},
		{"one that finds nothing", func(context.Context, string) ([]driver.Evidence, error) { return nil, nil }, "the collector found nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m, err := gather(t, newWorld(), incident.EvidenceBefore, map[string]func(context.Context, string) ([]driver.Evidence, error){
				"bad": test.collect, "good": func(context.Context, string) ([]driver.Evidence, error) { return text("good", "x"), nil },
			}, "bad a", "good b")
			require.NoError(t, err)
			require.Equal(t, test.want, m.Items[0].Missing)
			require.NotEmpty(t, m.Items[1].Digest)
		})
	}
}

// TestCaptureBoundsWhatItKeeps shows that nothing is too long to be kept, and that
// what was left out is said.
func TestCaptureBoundsWhatItKeeps(t *testing.T) {
	t.Parallel()
	w := newWorld()
	lines := strings.Repeat("2026-11-20T12:00:00Z error: the pool is exhausted\n", 100_000)
	many := make([]driver.Evidence, 70)
	for n := range many {
		many[n] = driver.Evidence{Name: fmt.Sprintf("pod %d", n), MediaType: "text/plain", Content: fmt.Appendf(nil, "%d", n)}
	}
	m, err := gather(t, w, incident.EvidenceBefore, map[string]func(context.Context, string) ([]driver.Evidence, error){
		"long": func(context.Context, string) ([]driver.Evidence, error) {
			return text("log token=abcdefghijklmnop "+strings.Repeat("n", 500), "first line\n"+lines+"password=hunter2hunter2\nlast line\n"), nil
		},
		"json": func(context.Context, string) ([]driver.Evidence, error) {
			return []driver.Evidence{{Name: "json", MediaType: "application/json", Content: []byte(`["` + strings.Repeat("ö", 9<<20) + `"]`)}}, nil
		},
		"many": func(context.Context, string) ([]driver.Evidence, error) { return many, nil },
	}, "long a", "json b", "many c")
	require.NoError(t, err)
	kept := w.blobs[m.Items[0].Digest]
	require.LessOrEqual(t, len(kept), 2<<20)
	require.True(t, bytes.HasPrefix(kept, []byte("first line\n")) && bytes.HasSuffix(kept, []byte("last line\n")))
	require.Regexp(t, `\n\[[0-9]+ bytes left out\]\n2026`, string(kept))
	require.NotContains(t, string(kept), "hunter2")
	require.Regexp(t, `^cut to [0-9]+ bytes: the document has [0-9]+$`, m.Items[0].Note)
	require.Equal(t, int64(len(kept)), m.Items[0].Size)
	require.Len(t, []rune(m.Items[0].Name), 200)
	require.NotContains(t, m.Items[0].Name, "abcdefghijklmnop")
	require.Equal(t, "text/plain; charset=utf-8", m.Items[1].MediaType, "half of a JSON document is none")
	require.NotEmpty(t, m.Items[1].Note)
	require.Len(t, m.Items, 2+65)
	require.Equal(t, "the collector found 70 documents, of which the first 64 are kept", m.Items[66].Missing)
}

// TestManifestIsBounded has more documents than a manifest lists.
func TestManifestIsBounded(t *testing.T) {
	t.Parallel()
	many := make([]driver.Evidence, 64)
	for n := range many {
		many[n] = driver.Evidence{Name: fmt.Sprintf("pod %d", n), MediaType: "text/plain", Content: fmt.Appendf(nil, "%d", n)}
	}
	m, err := gather(t, newWorld(), incident.EvidenceBefore, map[string]func(context.Context, string) ([]driver.Evidence, error){
		"many": func(context.Context, string) ([]driver.Evidence, error) { return many, nil },
	}, "many a", "many b", "many c", "many d", "many e")
	require.NoError(t, err)
	require.Len(t, m.Items, 257)
	require.Equal(t, "a manifest lists 256 items, and there were 320: have the runbook name fewer things", m.Items[256].Missing)
}

// TestNoCanaryIsKept plants more than fifty secrets of different shapes in what is
// captured, before and after, in the names, in what is compared and in the errors, and
// looks for them in everything that is kept: the store, the ledger, and what goes into
// the history.
func TestNoCanaryIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld()
	planted := redacttest.Canaries()
	require.GreaterOrEqual(t, len(planted), 50)
	var history []byte
	for some := range slices.Chunk(planted, 60) { // A manifest has room for so many.
		collect := map[string]func(context.Context, string) ([]driver.Evidence, error){}
		var specs []string
		for n, c := range some {
			kind := fmt.Sprintf("canary%d", n)
			specs = append(specs, kind+" a")
			doc := driver.Evidence{Name: c.Document, MediaType: cmp.Or(c.MediaType, "text/plain"), Content: []byte(c.Document)}
			both := doc
			both.Name, both.From = "both", []byte(c.Document+"\nmore\n")
			collect[kind] = func(context.Context, string) ([]driver.Evidence, error) {
				return []driver.Evidence{doc, both}, errors.New(c.Document)
			}
		}
		for _, phase := range []incident.EvidencePhase{incident.EvidenceBefore, incident.EvidenceAfter} {
			m, err := gather(t, w, phase, collect, specs...)
			require.NoError(t, err)
			require.Greater(t, len(m.Items), 2*len(some))
			wire, err := json.Marshal(m)
			require.NoError(t, err)
			history = append(history, wire...)
		}
	}
	for _, c := range planted {
		for digest, content := range w.blobs {
			require.NotContains(t, string(content), c.Secret, "%s is in the document %s", c.Name, digest)
		}
		for _, e := range w.entries {
			require.NotContains(t, e.Text+string(e.Payload), c.Secret, "%s is in the ledger", c.Name)
		}
		require.NotContains(t, string(history), c.Secret, "%s is in the history", c.Name)
	}
}

// beforeAndAfter captures twice, with what the collectors find on each side.
func beforeAndAfter(t *testing.T, w *world, before, after []driver.Evidence) incident.Manifest {
	t.Helper()
	var m incident.Manifest
	for _, side := range []struct {
		phase incident.EvidencePhase
		docs  []driver.Evidence
	}{{incident.EvidenceBefore, before}, {incident.EvidenceAfter, after}} {
		var err error
		m, err = gather(t, w, side.phase, map[string]func(context.Context, string) ([]driver.Evidence, error){
			"some": func(context.Context, string) ([]driver.Evidence, error) { return side.docs, nil },
		}, "some a")
		require.NoError(t, err)
	}
	return m
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	long := func(last string) string { return strings.Repeat("a line of text\n", 80_000) + last }
	for _, test := range []struct {
		name, mediaType string
		before, after   string
		// want is what the diff holds below its header, note what the item says of it,
		// and missing why there is none.
		want, note, missing string
	}{
		{"text", "text/plain", "color=red\nsize=1\n", "color=green\nsize=1\n", "@@ -1,2 +1,2 @@\n-color=red\n+color=green\n size=1\n", "", ""},
		{"text without a last line end", "text/plain", "a", "b", "@@ -1 +1 @@\n-a\n+b\n", "", ""},
		{"JSON on one line", "application/json", `{"b":1,"a":"x<y"}`, `{"a":"x<y","b":2}`, "@@ -1,4 +1,4 @@\n {\n   \"a\": \"x<y\",\n-  \"b\": 1\n+  \"b\": 2\n }\n", "", ""},
		{"JSON in another order", "application/json", `{"b":1,"a":2}`, `{"a":2,"b":1}`, "", "nothing changed", ""},
		{"JSON that is none", "application/json", "{", "{}", "@@ -1 +1 @@\n-{\n+{}\n", "", ""},
		{"the same", "text/plain", "same", "same", "", "nothing changed", ""},
		{"a secret on both sides", "text/plain", "password=hunter2hunter2\nx=1\n", "password=hunter3hunter3\nx=1\n", "", "nothing changed", ""},
		{"not text", "text/plain", "a\x00", "b\x00", "", "", "the documents could not be compared: one of them is not text"},
		{"too long", "text/plain", long("a"), long("b"), "", "", "the documents could not be compared: the one of 1200001 bytes is longer than 1048576"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			doc := func(content string) []driver.Evidence {
				return []driver.Evidence{{Name: "doc", MediaType: test.mediaType, Content: []byte(content)}}
			}
			m := beforeAndAfter(t, w, doc(test.before), doc(test.after))
			require.Len(t, m.Items, 2)
			d := m.Items[1]
			require.Equal(t, "diff of doc", d.Name)
			require.Equal(t, "diff", d.Collector)
			require.Equal(t, test.missing, d.Missing)
			require.Equal(t, test.note, d.Note)
			if test.missing != "" {
				require.Empty(t, d.Digest)
				return
			}
			require.Equal(t, "text/x-diff; charset=utf-8", d.MediaType)
			var was incident.Manifest
			require.NoError(t, json.Unmarshal(w.entries[0].Payload, &was))
			header := "--- before " + was.Items[0].Digest + "\n+++ after " + m.Items[0].Digest + "\n"
			require.Equal(t, header+test.want, string(w.blobs[d.Digest]))
			require.Equal(t, incident.DigestOf(w.blobs[d.Digest]), d.Digest, "content-addressed as everything else")
		})
	}
}

// TestDifferencesOfWhatIsOnOneSide compares only what was captured on both sides, the
// second of two alike with the second.
func TestDifferencesOfWhatIsOnOneSide(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m := beforeAndAfter(t, w, append(append(text("twice", "1\n"), text("twice", "2\n")...), text("gone", "x")...), append(append(append(text("twice", "1\n"), text("twice", "3\n")...), text("new", "y")...),
		driver.Evidence{Name: "picture", MediaType: "image/png", Content: []byte("x")}))
	require.Len(t, m.Items, 4+2)
	require.Equal(t, "nothing changed", m.Items[4].Note)
	require.Contains(t, string(w.blobs[m.Items[5].Digest]), "-2\n+3\n")
}

// TestDifferencesWithoutABefore says that there is nothing to compare with; a manifest
// of something else is refused.
func TestDifferencesWithoutABefore(t *testing.T) {
	t.Parallel()
	some := map[string]func(context.Context, string) ([]driver.Evidence, error){
		"some": func(context.Context, string) ([]driver.Evidence, error) { return text("a", "x"), nil },
	}
	m, err := gather(t, newWorld(), incident.EvidenceAfter, some, "some a")
	require.NoError(t, err)
	require.Equal(t, "there is no manifest from before the rollback to compare with", m.Items[1].Missing)

	w := newWorld()
	other := evidence(t, incident.Manifest{Rollback: "rollback/pagerduty/Q1/9", Phase: incident.EvidenceBefore})
	other.ID = incident.EvidenceID(rollback, incident.EvidenceBefore)
	w.entries = append(w.entries, other)
	_, err = gather(t, w, incident.EvidenceAfter, some, "some a")
	requireError(t, err, incident.ErrTypeInvalid, true)
	require.Len(t, w.entries, 1)
}

// TestDifferencesSayWhatCouldNotBeRead has a store that has lost what it had.
func TestDifferencesSayWhatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.fail = func(call string) error {
		if call == "read" {
			return errors.New("bucket is away; token=abcdefghijklmnop")
		}
		return nil
	}
	m := beforeAndAfter(t, w, text("doc", "a"), text("doc", "b"))
	require.Equal(t, "the documents could not be compared: bucket is away; token=[redacted:token/16]", m.Items[1].Missing)
	require.NotEmpty(t, m.Digest)
}

var _ activities.EvidenceStore = store{}
