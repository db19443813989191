package ledger_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/workflows/incident"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func entry(n int) incident.Entry {
	return incident.Entry{
		ID: fmt.Sprintf("pagerduty/Q1/e%d", n), Incident: "pagerduty/Q1", Kind: incident.EventIntent,
		At: start.Add(time.Duration(n) * time.Second), Actor: "alice", Text: fmt.Sprintf("intent %d", n),
		Payload: json.RawMessage(fmt.Sprintf(`{"n": %d}`, n)),
	}
}

func open(t *testing.T, path string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func fill(t *testing.T, l *ledger.Ledger, n int) []incident.Recorded {
	t.Helper()
	var out []incident.Recorded
	for i := range n {
		r, err := l.Append(t.Context(), entry(i+1))
		require.NoError(t, err)
		out = append(out, r)
	}
	return out
}

func requireWhole(t *testing.T, l *ledger.Ledger, entries int) {
	t.Helper()
	report, err := l.Verify(t.Context())
	require.NoError(t, err)
	require.Nil(t, report.First)
	require.True(t, report.OK())
	require.Equal(t, int64(entries), report.Entries)
	require.Empty(t, report.Notes)
}

func TestAppendAndRead(t *testing.T) {
	t.Parallel()
	// The name needs escaping in a URL.
	path := filepath.Join(t.TempDir(), "led ger?#%.db")
	l := open(t, path)
	requireWhole(t, l, 0)
	recorded := fill(t, l, 3)
	for i, r := range recorded {
		require.Equal(t, int64(i+1), r.Seq)
		require.True(t, incident.ValidDigest(r.Hash))
		require.False(t, r.Existed)
		require.True(t, r.At.Equal(entry(i+1).At))
	}
	requireWhole(t, l, 3)

	other := entry(4)
	other.ID, other.Incident, other.Payload = "cli/a/e1", "cli/a", nil
	_, err := l.Append(t.Context(), other)
	require.NoError(t, err)

	of, err := l.Entries(t.Context(), "pagerduty/Q1")
	require.NoError(t, err)
	require.Len(t, of, 3)
	require.Equal(t, recorded[0].Hash, of[1].Prev)
	require.JSONEq(t, `{"n":2}`, string(of[1].Entry.Payload))
	require.Equal(t, incident.EventIntent, of[1].Entry.Kind)
	all, err := l.Entries(t.Context(), "")
	require.NoError(t, err)
	require.Len(t, all, 4)
	none, err := l.Entries(t.Context(), "cli/none")
	require.NoError(t, err)
	require.Empty(t, none)

	got, err := l.Get(t.Context(), "cli/a/e1")
	require.NoError(t, err)
	require.Equal(t, int64(4), got.Seq)
	require.Nil(t, got.Entry.Payload)
	_, err = l.Get(t.Context(), "missing")
	require.ErrorIs(t, err, ledger.ErrNotFound)

	report, err := l.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, ledger.Head{Seq: 4, Hash: got.Hash}, report.Head)
}

// What a commit costs is what it is for: it is on disk when Append returns.
func TestCommitsAreDurable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	for name, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000"} {
		got, err := l.Pragma(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
	fill(t, l, 1)
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Contains(t, files, path+".head")
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "%s is for more than its owner", file)
	}
}

func TestAppendIsIdempotent(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	first := fill(t, l, 3)[1]

	later := entry(2)
	later.At = later.At.Add(time.Hour).In(time.FixedZone("x", 3600))
	later.Payload = json.RawMessage("{\n \"n\" : 2}")
	again, err := l.Append(t.Context(), later)
	require.NoError(t, err)
	require.True(t, again.Existed)
	again.Existed = false
	require.Equal(t, first, again, "a retry that reads a later clock finds the first entry")

	for _, tt := range []struct {
		name string
		edit func(e *incident.Entry)
	}{
		{name: "incident", edit: func(e *incident.Entry) { e.Incident = "cli/a" }},
		{name: "kind", edit: func(e *incident.Entry) { e.Kind = incident.EventActionDone }},
		{name: "actor", edit: func(e *incident.Entry) { e.Actor = "bob" }},
		{name: "text", edit: func(e *incident.Entry) { e.Text += "." }},
		{name: "payload", edit: func(e *incident.Entry) { e.Payload = json.RawMessage(`{"n":3}`) }},
		{name: "no payload", edit: func(e *incident.Entry) { e.Payload = nil }},
	} {
		e := entry(2)
		tt.edit(&e)
		_, err := l.Append(t.Context(), e)
		require.ErrorIs(t, err, ledger.ErrConflict, tt.name)
	}
	requireWhole(t, l, 3)
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	for _, tt := range []struct {
		name string
		edit func(e *incident.Entry)
	}{
		{name: "no ID", edit: func(e *incident.Entry) { e.ID = "" }},
		{name: "long ID", edit: func(e *incident.Entry) { e.ID = strings.Repeat("a", 513) }},
		{name: "ID with NUL", edit: func(e *incident.Entry) { e.ID = "a\x00" }},
		{name: "no kind", edit: func(e *incident.Entry) { e.Kind = "" }},
		{name: "no time", edit: func(e *incident.Entry) { e.At = time.Time{} }},
		{name: "long text", edit: func(e *incident.Entry) { e.Text = strings.Repeat("a", 64<<10+1) }},
		{name: "long actor", edit: func(e *incident.Entry) { e.Actor = strings.Repeat("a", 4<<10+1) }},
		{name: "payload is no JSON", edit: func(e *incident.Entry) { e.Payload = json.RawMessage(`{`) }},
		{name: "payload is no object", edit: func(e *incident.Entry) { e.Payload = json.RawMessage(`[1]`) }},
		{name: "large payload", edit: func(e *incident.Entry) {
			e.Payload = json.RawMessage(`{"a":"` + strings.Repeat("a", 1<<20) + `"}`)
		}},
	} {
		e := entry(1)
		tt.edit(&e)
		_, err := l.Append(t.Context(), e)
		require.ErrorIs(t, err, ledger.ErrInvalid, tt.name)
	}
	requireWhole(t, l, 0)
}

func TestTextFromOutsideIsKeptReadable(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	e := entry(1)
	e.Text = "bad \xff bytes, a \x00 and ' OR 1=1; --"
	_, err := l.Append(t.Context(), e)
	require.NoError(t, err)
	r, err := l.Append(t.Context(), e)
	require.NoError(t, err)
	require.True(t, r.Existed)
	got, err := l.Get(t.Context(), e.ID)
	require.NoError(t, err)
	require.Equal(t, "bad \uFFFD bytes, a \uFFFD and ' OR 1=1; --", got.Entry.Text)
	requireWhole(t, l, 1)
}

func TestConcurrentAppends(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	const writers, each = 8, 12
	handles := []*ledger.Ledger{open(t, path), open(t, path)}
	reader, err := ledger.OpenReadOnly(t.Context(), path)
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()

	errs := make(chan error, writers*each+1)
	done := make(chan struct{})
	var wg, verifying sync.WaitGroup
	verifying.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			report, err := reader.Verify(t.Context())
			if err == nil && report.First != nil {
				err = fmt.Errorf("entry %d while appending: %s", report.First.Seq, report.First.What)
			}
			if err != nil {
				errs <- err
				return
			}
		}
	})
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				e := entry(w*each + i)
				_, err := handles[w%len(handles)].Append(t.Context(), e)
				if err == nil && i%4 == 0 {
					// The other handle finds it.
					var r incident.Recorded
					r, err = handles[(w+1)%len(handles)].Append(t.Context(), e)
					if err == nil && !r.Existed {
						err = fmt.Errorf("entry %q was written twice", e.ID)
					}
				}
				errs <- err
			}
		})
	}
	wg.Wait()
	close(done)
	verifying.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	requireWhole(t, handles[0], writers*each)
}

func TestOpenAtTheSameTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	const n = 6
	errs := make(chan error, n)
	for i := range n {
		go func() {
			l, err := ledger.Open(t.Context(), path)
			if err == nil {
				_, err = l.Append(t.Context(), entry(i))
				if cerr := l.Close(); err == nil {
					err = cerr
				}
			}
			errs <- err
		}()
	}
	for range n {
		require.NoError(t, <-errs)
	}
	requireWhole(t, open(t, path), n)
}

func TestOpenReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	_, err := ledger.OpenReadOnly(t.Context(), path)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist, "looking makes no ledger")

	l, err := ledger.Open(t.Context(), path)
	require.NoError(t, err)
	fill(t, l, 3)
	for _, tt := range []string{"while it is open", "after it was closed"} {
		ro, err := ledger.OpenReadOnly(t.Context(), path)
		require.NoError(t, err, tt)
		requireWhole(t, ro, 3)
		_, err = ro.Append(t.Context(), entry(4))
		require.ErrorIs(t, err, ledger.ErrReadOnly, tt)
		require.NoError(t, ro.Close())
		if tt == "while it is open" {
			require.NoError(t, l.Close())
		}
	}

	other := filepath.Join(dir, "other.db")
	require.NoError(t, os.WriteFile(other, []byte("this is no database, but some other file of a person"), 0o600))
	_, err = ledger.Open(t.Context(), other)
	require.Error(t, err)
	_, err = ledger.OpenReadOnly(t.Context(), other)
	require.Error(t, err)
}

func BenchmarkAppend(b *testing.B) {
	l, err := ledger.Open(b.Context(), filepath.Join(b.TempDir(), "ledger.db"))
	require.NoError(b, err)
	defer func() { require.NoError(b, l.Close()) }()
	var n int
	for b.Loop() {
		n++
		_, err := l.Append(b.Context(), entry(n))
		require.NoError(b, err)
	}
}

func BenchmarkVerify(b *testing.B) {
	l, err := ledger.Open(b.Context(), filepath.Join(b.TempDir(), "ledger.db"))
	require.NoError(b, err)
	defer func() { require.NoError(b, l.Close()) }()
	for n := range 1000 {
		_, err := l.Append(b.Context(), entry(n))
		require.NoError(b, err)
	}
	for b.Loop() {
		report, err := l.Verify(b.Context())
		require.NoError(b, err)
		require.True(b, report.OK())
	}
}
