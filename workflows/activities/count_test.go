package activities_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

// meter remembers what it was told.
type meter struct{ told []string }

func (m *meter) Decided(outcome incident.Outcome, tier incident.Tier, past bool) {
	m.told = append(m.told, fmt.Sprintf("%s %s %t", outcome, tier, past))
}

// An answer is counted once, by the attempt that wrote it.
func TestAnswersAreCountedOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		tier  incident.Tier
		login string
		glass bool
		want  string
	}{
		{"an approval", incident.TierOnCall, "ada", false, "approved tier-1 false"},
		{"an answer of nobody", incident.TierOnCall, "mallory", false, "unidentified tier-1 false"},
		{"a denial", incident.TierCommander, "ada", false, "denied tier-2 false"},
		{"an approval past the policy", incident.TierCommander, "ada", true, "approved tier-2 true"},
		{"somebody who may not pass it by", incident.TierCommander, "dora", true, "denied tier-2 false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.onCall["PCHECK"] = []incident.Person{ada}
			a, m := w.activities(t), &meter{}
			a.Meter = m
			in := ask(t, tt.tier, tt.login, "1")
			in.Request.BreakGlass, in.Request.Reason = tt.glass, "all of Europe is down"
			for range 3 {
				_, err := click(t, a, in)
				require.NoError(t, err)
			}
			require.Equal(t, []string{tt.want}, m.told)
		})
	}

	t.Run("nothing that is not on record", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		a, m := w.activities(t), &meter{}
		a.Meter = m
		w.fail = func(call string) error {
			if call == "append decision" {
				return errDead
			}
			return nil
		}
		_, err := click(t, a, ask(t, incident.TierOnCall, "ada", "1"))
		require.Error(t, err)
		require.Empty(t, m.told)
	})
}
