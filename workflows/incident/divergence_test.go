package incident_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

func judgedData(v incident.Verdict, after *int64) incident.RollbackView {
	return incident.RollbackView{Recovery: &incident.RecoveryResult{Data: []incident.DataResult{{Name: "orders", Verdict: v, After: after}}}}
}

// TestCounted is what is known of data after several rollbacks: the newest count stands
// until somebody counts again.
func TestCounted(t *testing.T) {
	t.Parallel()
	diverges, repaired := judgedData(incident.VerdictNotRecovered, new(int64(37))), judgedData(incident.VerdictRecovered, new(int64(0)))
	untouched, uncounted := incident.RollbackView{Status: incident.RollbackVoid}, incident.RollbackView{Recovery: &incident.RecoveryResult{Verdict: incident.VerdictRecovered}}
	for _, tt := range []struct {
		name      string
		rollbacks []incident.RollbackView
		known     bool
		diverging int
	}{
		{"no rollback", nil, false, 0},
		{"nobody counts", []incident.RollbackView{uncounted}, false, 0},
		{"it diverges", []incident.RollbackView{diverges}, true, 1},
		{"it is repaired", []incident.RollbackView{diverges, repaired}, true, 0},
		{"it diverges again", []incident.RollbackView{repaired, diverges}, true, 1},
		{"the second touched nothing", []incident.RollbackView{diverges, untouched}, true, 1},
		{"the second counts nothing", []incident.RollbackView{diverges, uncounted}, true, 1},
		{"a verdict without a count", []incident.RollbackView{judgedData(incident.VerdictNotRecovered, nil)}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := incident.View{Rollbacks: tt.rollbacks}.Counted()
			require.Equal(t, tt.known, got != nil)
			if got != nil {
				require.Len(t, got.Diverging(), tt.diverging)
			}
		})
	}
}
