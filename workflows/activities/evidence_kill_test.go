package activities_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	realstore "github.com/backout/backout/integrations/evidence"
	realledger "github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// captureEnv makes TestCaptureThenExecute work in that folder, and holdEnv makes it stop
// at that step and wait to be killed.
const (
	captureEnv = "ACTIVITIES_TEST_CAPTURE_IN"
	holdEnv    = "ACTIVITIES_TEST_HOLD_AT"
	holding    = "holding"
)

// The steps of TestCaptureThenExecute: before and after each of the documents that can be
// had, and of the manifest, and then these.
const (
	recordedStep = 2*(documents-documents/3) + 2 + iota + 1
	mutatingStep
)

// document is how many documents are captured, of which every third can not be had.
const documents = 9

// durable is a ledger on disk as the activities want it.
type durable struct{ *realledger.Ledger }

func (d durable) Get(ctx context.Context, id string) (incident.Entry, bool, error) {
	rec, err := d.Ledger.Get(ctx, id)
	if errors.Is(err, realledger.ErrNotFound) {
		return incident.Entry{}, false, nil
	}
	return rec.Entry, err == nil, err
}

func (d durable) Of(ctx context.Context, key string, kind incident.EventKind) ([]incident.Entry, error) {
	recs, err := d.Kind(ctx, key, kind)
	out := make([]incident.Entry, len(recs))
	for i, r := range recs {
		out[i] = r.Entry
	}
	return out, err
}

// steps counts what is done, and stops at one of them for ever.
type steps struct {
	mu   sync.Mutex
	n    int
	hold int
}

// next is the next step. Nobody else gets further while it is held.
func (s *steps) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.n == s.hold {
		fmt.Println(holding)
		_, _ = os.Stdin.Read(make([]byte, 1)) // Nobody writes there.
	}
}

// stepping is a store whose every Put is a step before and a step after.
type stepping struct {
	*realstore.Store
	steps *steps
}

func (s stepping) Put(ctx context.Context, content []byte, mediaType string) (string, error) {
	s.steps.next()
	digest, err := s.Store.Put(ctx, content, mediaType)
	s.steps.next()
	return digest, err
}

// mutating is systems whose one target is a file.
type mutating struct {
	gathering
	file  string
	steps *steps
}

func (m mutating) Inverse(kind, system string) (driver.Inverse, error) {
	inner, err := m.gathering.Inverse(kind, system)
	return fileInverse{inner, m.file, m.steps}, err
}

// fileInverse writes the file when it applies.
type fileInverse struct {
	driver.Inverse
	file  string
	steps *steps
}

func (i fileInverse) Apply(ctx context.Context, a incident.Action, key string) (driver.Receipt, error) {
	i.steps.next()
	if err := os.WriteFile(i.file, []byte(key), 0o600); err != nil {
		return driver.Receipt{}, err
	}
	return i.Inverse.Apply(ctx, a, key)
}

// TestCaptureThenExecute captures evidence and then rolls back, with a ledger and a
// store on disk. Without evidence the rollback is refused. TestCaptureUnderSIGKILL runs
// it in a process that it kills.
func TestCaptureThenExecute(t *testing.T) {
	t.Parallel()
	dir := os.Getenv(captureEnv)
	if dir == "" {
		dir = t.TempDir()
	}
	hold, _ := strconv.Atoi(os.Getenv(holdEnv)) // Zero is never.
	at := &steps{hold: hold}
	w := newWorld()
	run := approved(t, w)
	led, err := realledger.Open(t.Context(), filepath.Join(dir, "ledger.db"))
	require.NoError(t, err)
	store, err := realstore.Open(t.Context(), "file://"+filepath.Join(dir, "evidence"))
	require.NoError(t, err)
	_, err = led.Append(t.Context(), w.entries[0]) // The approval, and not the evidence.
	require.NoError(t, err)

	before, _, _ := strings.Cut(book, "evidence:\n")
	_, after, _ := strings.Cut(book, "recovery:\n")
	var listed strings.Builder
	for n := range documents {
		fmt.Fprintf(&listed, "  - {collector: some, target: {system: main, path: d%d}}\n", n)
	}
	rb := runbook(t, before+"evidence:\n"+listed.String()+"recovery:\n"+after)
	a := w.activities(t)
	a.Ledger, a.Evidence, a.Runbooks = durable{led}, stepping{store, at}, []*runbooks.Runbook{rb}
	a.Systems = mutating{gathering{systems{w}, map[string]func(context.Context, string) ([]driver.Evidence, error){
		"some": func(_ context.Context, path string) ([]driver.Evidence, error) {
			if strings.ContainsAny(path, "036") {
				return nil, errors.New("it is away")
			}
			return text("evidence "+path, strings.Repeat("evidence of "+path+"\n", 1000)), nil
		},
	}}, filepath.Join(dir, "mutated"), at}
	executing := *a
	executing.Runbooks = w.activities(t).Runbooks // Of the version that was approved.
	in := capture(t, incident.EvidenceBefore)
	in.Plan.RunbookDigest = rb.Digest
	if _, there, err := a.Ledger.Get(t.Context(), in.EventID); err == nil && !there {
		_, err = executing.ExecuteAction(t.Context(), run)
		requireError(t, err, incident.ErrTypeDenied, true)
		require.NoFileExists(t, filepath.Join(dir, "mutated"))
	}
	m, err := a.CaptureEvidence(t.Context(), in)
	require.NoError(t, err)
	require.Len(t, m.Items, documents)
	at.next()
	_, err = executing.ExecuteAction(t.Context(), run)
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "mutated"))
	require.NoError(t, errors.Join(led.Close(), store.Close()))
}

// TestCaptureUnderSIGKILL kills the process around every document, the manifest, the
// record and the mutation. Until the manifest is in the ledger nothing is touched; once
// it is there, each item is in the store or says why it is missing. The next process
// completes.
func TestCaptureUnderSIGKILL(t *testing.T) {
	t.Parallel()
	for _, step := range []int{1, 2, 5, 8, recordedStep - 3, recordedStep - 2, recordedStep - 1, recordedStep, mutatingStep} {
		t.Run(fmt.Sprintf("step %d of %d", step, mutatingStep), func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			killAt(t, folder, step)
			require.Equal(t, step >= recordedStep, wholeEvidence(t, folder))
			require.NoFileExists(t, filepath.Join(folder, "mutated"))
			output, err := child(t, folder).CombinedOutput()
			require.NoError(t, err, string(output))
			require.True(t, wholeEvidence(t, folder), "the next process did not complete")
			require.FileExists(t, filepath.Join(folder, "mutated"))
		})
	}
}

// child is another process that works in the folder.
func child(t *testing.T, folder string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCaptureThenExecute$", "-test.count=1")
	c.Env = append(os.Environ(), captureEnv+"="+folder)
	return c
}

// killAt has another process work up to a step, and kills it there.
func killAt(t *testing.T, folder string, step int) {
	t.Helper()
	c := child(t, folder)
	c.Env = append(c.Env, fmt.Sprintf("%s=%d", holdEnv, step))
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	held := false
	for said := bufio.NewScanner(out); !held && said.Scan(); {
		held = said.Text() == holding
	}
	require.NoError(t, c.Process.Kill())
	require.Error(t, c.Wait())
	require.True(t, held, "the process did not get to step %d", step)
	_ = in.Close() // Nothing was written to it.
}

// wholeEvidence reports whether the manifest is in the ledger, and requires what must
// hold in either case.
func wholeEvidence(t *testing.T, folder string) bool {
	t.Helper()
	led, err := realledger.Open(t.Context(), filepath.Join(folder, "ledger.db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, led.Close()) }()
	report, err := led.Verify(t.Context())
	require.NoError(t, err)
	require.Nil(t, report.First, "the ledger is not whole")
	entry, there, err := durable{led}.Get(t.Context(), incident.EvidenceID(rollback, incident.EvidenceBefore))
	require.NoError(t, err)
	if !there {
		require.NoFileExists(t, filepath.Join(folder, "mutated"), "the target was touched before the manifest was in the ledger")
		return false
	}
	store, err := realstore.Open(t.Context(), "file://"+filepath.Join(folder, "evidence"))
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	var m incident.Manifest
	require.NoError(t, json.Unmarshal(entry.Payload, &m))
	require.Len(t, m.Items, documents)
	missing := 0
	for _, item := range m.Items {
		if item.Missing != "" {
			missing++
			require.Empty(t, item.Digest)
			require.Equal(t, "it is away", item.Missing)
			continue
		}
		content, err := store.Get(t.Context(), item.Digest)
		require.NoError(t, err, item.Name)
		require.Len(t, content, int(item.Size))
	}
	require.Equal(t, 3, missing)
	listed, err := store.Get(t.Context(), m.Digest)
	require.NoError(t, err)
	m.Digest = ""
	again, err := json.Marshal(m)
	require.NoError(t, err)
	require.JSONEq(t, string(again), string(listed), "the manifest is stored as well")
	return true
}

var _ activities.Ledger = durable{}
