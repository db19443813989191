package ledger_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/workflows/incident"
)

func batch(from, to int) []incident.Entry {
	var out []incident.Entry
	for n := from; n <= to; n++ {
		out = append(out, incident.Entry{ID: fmt.Sprintf("pagerduty/Q1/e%d", n), Incident: "pagerduty/Q1", Kind: incident.EventPage, At: time.Unix(1700000000, 0), Text: fmt.Sprint(n)})
	}
	return out
}

func TestAppendAllIsAllOrNothing(t *testing.T) {
	t.Parallel()
	l, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	recorded, err := l.AppendAll(t.Context(), batch(1, 3))
	require.NoError(t, err)
	require.Len(t, recorded, 3)
	recorded, err = l.AppendAll(t.Context(), batch(2, 5))
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, false, false}, []bool{recorded[0].Existed, recorded[1].Existed, recorded[2].Existed, recorded[3].Existed})
	require.Equal(t, int64(5), recorded[3].Seq)

	spoilt := batch(6, 7)
	spoilt = append(spoilt, incident.Entry{ID: "pagerduty/Q1/e1", Incident: "pagerduty/Q1", Kind: incident.EventPage, At: time.Unix(1700000000, 0), Text: "another"})
	_, err = l.AppendAll(t.Context(), spoilt)
	require.ErrorIs(t, err, ledger.ErrConflict)
	require.ErrorContains(t, err, `"pagerduty/Q1/e1"`)
	entries, err := l.Entries(t.Context(), "pagerduty/Q1")
	require.NoError(t, err)
	require.Len(t, entries, 5)
	_, err = l.AppendAll(t.Context(), batch(1, ledger.MaxBatch+1))
	require.ErrorIs(t, err, ledger.ErrInvalid)
	report, err := l.Verify(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(5), report.Entries)
}

// TestAHeadThatABatchLeftBehindIsBroughtUp is a process that died between a commit
// and the head file. Only what one transaction can have written is believed.
func TestAHeadThatABatchLeftBehindIsBroughtUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		batches [][2]int
		want    error
	}{
		{"one batch", [][2]int{{2, ledger.MaxBatch}}, nil},
		{"more than a batch", [][2]int{{2, ledger.MaxBatch}, {ledger.MaxBatch + 1, ledger.MaxBatch + 10}}, ledger.ErrTampered},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ledger.db")
			l, err := ledger.Open(t.Context(), path)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, l.Close()) })
			_, err = l.AppendAll(t.Context(), batch(1, 1))
			require.NoError(t, err)
			head, err := os.ReadFile(path + ".head")
			require.NoError(t, err)
			last := 1
			for _, b := range test.batches {
				_, err = l.AppendAll(t.Context(), batch(b[0], b[1]))
				require.NoError(t, err)
				last = b[1]
			}
			require.NoError(t, os.WriteFile(path+".head", head, 0o600))
			report, err := l.Verify(t.Context())
			require.NoError(t, err)
			require.Equal(t, test.want == nil, report.OK())
			if test.want != nil {
				require.Contains(t, report.First.What, "was not appended by this program")
			}
			_, err = l.AppendAll(t.Context(), batch(last+1, last+1))
			require.ErrorIs(t, err, test.want)
			if test.want == nil {
				report, err := l.Verify(t.Context())
				require.NoError(t, err)
				require.Equal(t, int64(last+1), report.Entries)
			}
		})
	}
}
