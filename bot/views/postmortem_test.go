package views_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// section is the text of one section of a postmortem.
func section(t *testing.T, body, title string) string {
	t.Helper()
	_, rest, found := strings.Cut(body, "\n## "+title+"\n")
	require.True(t, found, title)
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// poison puts a canary into every text of a value, however deep.
func poison(v reflect.Value, canary string) {
	switch v.Kind() {
	case reflect.String:
		switch v.Interface().(type) {
		case incident.Verdict, incident.Strategy, incident.Phase, incident.RollbackStatus:
			return // Words of Backout's own, by which the summary chooses its words.
		}
		v.SetString(canary)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for _, field := range v.Fields() {
			poison(field, canary)
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i), canary)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem(), canary)
		}
	default:
	}
}

// What customers are told has nothing of the view in it but times and numbers.
func TestPublicSummaryHoldsNoTextOfTheView(t *testing.T) {
	t.Parallel()
	for name, v := range phases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A copy of its own: the fixtures share what their pointers lead to.
			raw, err := json.Marshal(v)
			require.NoError(t, err)
			var bad incident.View
			require.NoError(t, json.Unmarshal(raw, &bad))
			poison(reflect.ValueOf(&bad).Elem(), "CANARY")
			_, body := views.Postmortem(bad)
			require.Contains(t, body, "CANARY", "the canary is where it should be")
			require.NotContains(t, section(t, body, "Public summary"), "CANARY")
			require.NotContains(t, views.PublicSummary(bad), "CANARY")
		})
	}
}

func TestPublicSummary(t *testing.T) {
	t.Parallel()
	long := closed()
	long.OpenedAt = at(-26 * time.Hour)
	flag := closed()
	flag.Options[0].Plan.Strategy = incident.StrategyFlagOff
	for _, tt := range []struct {
		name string
		view incident.View
		want []string
		not  string
	}{
		{"recovered", closed(), []string{
			"**Resolved:", "On 14 March 2026, from 03:11 to 03:15 UTC (4 minutes)", "About 8 % of requests failed. Answers took longer than usual.",
			"We took back a recent change at 03:12 UTC. Our measurements have been back to normal since 03:15 UTC.",
		}, "working on it"},
		{"over two days", long, []string{"From 13 March 2026 01:12 UTC to 14 March 2026 03:15 UTC (26 hours)"}, "working on it"},
		{"a flag", flag, []string{"We turned off a feature"}, "took back"},
		{"going on", deciding(), []string{"**Being worked on:", "Since 14 March 2026 03:11 UTC", "Our engineers looked into it at once. We are still working on it."}, "normal since"},
		{"unknown is no recovery", validating(), []string{"**Monitoring:", "We are still working on it."}, "normal since"},
		{"nothing is known", incident.View{}, []string{"Customers may have been unable"}, "0001"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := views.PublicSummary(tt.view)
			for _, want := range tt.want {
				require.Contains(t, got, want)
			}
			require.NotContains(t, got, tt.not)
		})
	}
}

// Without a console a line names its event; with one it leads there, and only there.
func TestTimelineNamesItsEvents(t *testing.T) {
	t.Parallel()
	v := closed()
	v.ConsoleURL = ""
	_, body := views.Postmortem(v)
	require.Contains(t, section(t, body, "Timeline"), "| `rollback/pagerduty/Q1ABC/1/e9` |")
	v.ConsoleURL = "javascript:alert(1)"
	_, body = views.Postmortem(v)
	require.NotContains(t, body, "javascript")
	v.ConsoleURL, v.Timeline[0].ID = "https://backout.example.com/incidents/x", "a)b](javascript:x)"
	_, body = views.Postmortem(v)
	require.Contains(t, section(t, body, "Timeline"), "| `a)b](javascript:x)` |")
	require.Empty(t, views.EventAnchor(`x" onclick="y`))
	require.Empty(t, views.EventAnchor(""))
}

func TestPinnedMessagesStandWhereTheyWereWritten(t *testing.T) {
	t.Parallel()
	_, body := views.Postmortem(pinnedDown())
	lines := section(t, body, "Timeline")
	message := strings.Index(lines, "discounts")
	require.Greater(t, message, strings.Index(lines, "Offered 2 options"))
	require.Less(t, message, strings.Index(lines, "Approved o1"))
	require.Contains(t, lines, "(pinned by Ada Lovelace)")
	require.Contains(t, lines, "(edited 03:12:33)")
	require.Contains(t, lines, "spike\\].png](https://example.slack.com/files/F1)")
	require.NotContains(t, lines, "javascript")
	require.NotContains(t, lines, "pinned a message of", "the message stands for its event")
	require.Contains(t, lines, "| 2026-03-15 05:12:08 |", "another day is said")
}

// What takes longer than its target, and what a rollback leaves at its source, has an
// owner and a date.
func TestActionItemsHaveOwnerAndDate(t *testing.T) {
	t.Parallel()
	late := closed()
	late.Rollbacks[0].ApprovedAt = at(11 * time.Minute)
	late.Rollbacks[0].ActionsDoneAt = at(17 * time.Minute)
	recovery := *late.Rollbacks[0].Recovery
	recovery.At = at(20 * time.Minute)
	late.Rollbacks[0].Recovery = &recovery
	stuck := validating()
	stuck.Rollbacks[0].Recovery = &incident.RecoveryResult{Verdict: incident.VerdictNotRecovered, Reason: "8 % fail"}
	for _, tt := range []struct {
		name string
		view incident.View
		want []string
	}{
		{"recovered", closed(), []string{"- [ ] **prevent** (cause at its source): correct or revert the deploy of checkout from v41 to v42 before it is released again. Owner: payments. Due: 2026-03-16"}},
		{"slow", late, []string{"(slow approval): it took 11 min from the page to the approval, wanted 10 min", "(slow rollback)", "(slow recovery)"}},
		{"not recovered", stuck, []string{"(cause not found): find what broke checkout"}},
		{"past the policy", breakGlass(), []string{"**process** (break-glass review)", "not Ada Lovelace. Due: 2026-03-19"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, body := views.Postmortem(tt.view)
			items := section(t, body, "Action items")
			for _, want := range tt.want {
				require.Contains(t, items, want)
			}
			for line := range strings.Lines(items) {
				if strings.HasPrefix(line, "- [ ]") {
					require.Contains(t, line, "Owner: ")
					require.Contains(t, line, "Due: ")
				}
			}
		})
	}
}
