package e2e_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/e2e/harness"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	"github.com/backout/backout/workflows/incident"
)

// TestSlackDown has Slack fail at everything: the notice goes out through PagerDuty,
// and the command that it spells out takes the decision. When Slack is back, its one
// card shows the end.
func TestSlackDown(t *testing.T) {
	t.Parallel()
	w := harness.New(t, harness.Options{})
	w.Slack.Fault(fakeslack.AnyMethod, fakeslack.Fault{Status: 503, Times: -1})
	key := w.Page("checkout")
	id := strings.TrimPrefix(key, string(incident.SourcePagerDuty)+"/")
	noted := func(words string) (found string) {
		i, there := w.PagerDuty.Incident(id)
		require.True(t, there)
		for _, n := range i.Notes {
			if strings.Contains(n.Content, words) {
				found = n.Content
			}
		}
		return found
	}
	w.Until("a notice with the options", func() bool { return noted("To approve: ") != "" })
	command := regexp.MustCompile(`To approve: backout (approve \S+ \S+ --digest \S+)`).FindStringSubmatch(noted("To approve: "))
	require.Len(t, command, 2)
	out, _ := cli(t, w, 0, strings.Fields(command[1])...)
	require.Contains(t, out, "approved")
	w.Ended(key)
	require.Equal(t, harness.GoodRelease, w.Releases.Running("checkout"))
	w.Until("a notice of the end", func() bool { return noted("Verdict: recovered") != "" })
	require.Empty(t, w.Cards(key))

	w.Slack.ClearFaults()
	w.CardOf(key, "the recovery", func(m fakeslack.Message) bool { return contains(m, "ecovered") })
	require.Len(t, w.Cards(key), 1)
	_, err := w.VerifyLedger(t.Context())
	require.NoError(t, err)
}
