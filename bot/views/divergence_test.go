package views_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// diverging is an incident whose service is well again while rows of the bad version
// are still there, and others can not be counted.
func diverging() incident.View {
	v := recovered()
	v.Revision, v.Phase = 13, incident.PhaseStuck
	v.Notes = []string{"The incident was resolved at its source, and data still diverges: orders without a payment. Repair it, then close the incident by hand."}
	last := &v.Timeline[len(v.Timeline)-1]
	last.At, last.Text = at(15*time.Minute), "verdict: not recovered. The SLIs are well, but 37 still diverge"
	rb := &v.Rollbacks[0]
	rb.Chart, rb.FinishedAt = nil, at(15*time.Minute)
	rb.Before = &incident.Manifest{
		Rollback: rb.ID, Phase: incident.EvidenceBefore, Digest: digest("before"), Items: rb.Before.Items,
		Counts: []incident.DataCount{{Name: "orders without a payment", Count: new(int64(41)), At: at(31 * time.Second)}},
	}
	rb.Recovery = &incident.RecoveryResult{
		Verdict: incident.VerdictNotRecovered, At: at(15 * time.Minute), SLIs: rb.Recovery.SLIs,
		Reason: "The SLIs are well, but 37 still diverge: orders without a payment (41 before the rollback, at most 0 wanted); and what diverges is not known of carts without an owner: permission denied. Going back does not repair data.",
		Data: []incident.DataResult{
			{Name: "orders without a payment", System: "shop-db", Verdict: incident.VerdictNotRecovered, Reason: "37 still diverge.", Before: new(int64(41)), After: new(int64(37)), At: at(15 * time.Minute)},
			{Name: "carts without an owner", System: "shop-db", Verdict: incident.VerdictUnknown, Reason: "It could not be counted.", Missing: "permission denied", At: at(15 * time.Minute)},
			{Name: "messages that wait for <@here>", System: "prometheus", Verdict: incident.VerdictRecovered, Reason: "2 still diverge.", AtMost: 5, Before: new(int64(9)), After: new(int64(2)), At: at(15 * time.Minute)},
		},
	}
	return v
}

// TestWhatDivergesIsShown is the card, the console and the postmortem of that incident.
func TestWhatDivergesIsShown(t *testing.T) {
	t.Parallel()
	v := diverging()
	c := views.NewCard(v)
	valid(t, c)
	golden(t, "card-diverging.json", pretty(t, map[string]any{"blocks": c.Blocks, "text": c.Text}))
	raw := string(pretty(t, c.Blocks))
	require.Contains(t, raw, "Stuck: the service is well, and its data has to be looked at")
	require.Contains(t, raw, "✖ orders without a payment: before 41, now 37, at most 0 wanted")
	require.Contains(t, raw, "❔ carts without an owner: before not known, now not known, at most 0 wanted. permission denied")

	var page bytes.Buffer
	require.NoError(t, views.Console(&page, v, views.Visitor{}))
	golden(t, "console-diverging.html", page.Bytes())
	require.Contains(t, page.String(), "before 41, now 37")

	title, body := views.Postmortem(v)
	golden(t, "postmortem-diverging.md", []byte(title+"\n\n"+body))
	require.Contains(t, body, "| orders without a payment | 0 | 41 | 37 | 03:27:08 UTC | **diverges** |")
	require.Contains(t, body, "(data to repair): repair the 37 that still diverge: orders without a payment (41 before the rollback, at most 0 wanted, counted at 03:27:08 UTC). Owner: payments. Due: ")
	require.Contains(t, body, "(blind data check): count by hand, repair what diverges, and see that it can be counted: carts without an owner: permission denied. Owner: payments")
	require.NotContains(t, body, "(data to repair): repair the 2")
	require.NotContains(t, body, "(blind spot): look into: The incident was resolved")
	require.NotContains(t, body, "did not bring the service back")
	require.Contains(t, body, "taking it back brought the service back, which fits; what it left in data is another matter")
	require.Contains(t, body, "and are still correcting what it left behind")
}

// TestDataIsSaidOfTheLastRollback is a second rollback after which nothing diverges any
// more: what the first left is repaired.
func TestDataIsSaidOfTheLastRollback(t *testing.T) {
	t.Parallel()
	v := diverging()
	second := v.Rollbacks[0]
	repaired := *second.Recovery
	repaired.Verdict, repaired.Reason = incident.VerdictRecovered, "All is well."
	repaired.Data = []incident.DataResult{{Name: "orders without a payment", Verdict: incident.VerdictRecovered, Before: new(int64(37)), After: new(int64(0)), At: at(30 * time.Minute)}}
	second.Recovery = &repaired
	v.Rollbacks = append(v.Rollbacks, second)
	_, body := views.Postmortem(v)
	require.NotContains(t, body, "data to repair")
	require.Contains(t, body, "| orders without a payment | 0 | 37 | 0 |")
}

// TestDataThatNobodyCountedAgainIsStillLeft is a second rollback that touched nothing:
// what the first left is still there.
func TestDataThatNobodyCountedAgainIsStillLeft(t *testing.T) {
	t.Parallel()
	v := diverging()
	v.Rollbacks = append(v.Rollbacks, incident.RollbackView{ID: "rollback/pagerduty/Q1ABC/2", OptionID: "o2", Status: incident.RollbackVoid, Reason: "the world moved"})
	_, body := views.Postmortem(v)
	require.Contains(t, body, "(data to repair): repair the 37 that still diverge: orders without a payment")
}

// TestAWatchWithoutSLIsShowsItsCounts is a watch that a responder stopped.
func TestAWatchWithoutSLIsShowsItsCounts(t *testing.T) {
	t.Parallel()
	v := diverging()
	rb := &v.Rollbacks[0]
	rb.Recovery.Verdict, rb.Recovery.SLIs = incident.VerdictUnknown, nil
	rb.Recovery.Data = rb.Recovery.Data[:1]
	rb.Recovery.Data[0].After = new(int64(1))
	_, body := views.Postmortem(v)
	require.Contains(t, body, "- no SLI was measured\n")
	require.Contains(t, body, "repair the 1 that still diverges: orders without a payment")
}

// TestManyDataChecksFitOnTheCard is as many checks as a runbook can have, and more, with
// names and reasons as long as they can be.
func TestManyDataChecksFitOnTheCard(t *testing.T) {
	t.Parallel()
	v := diverging()
	one := v.Rollbacks[0].Recovery.Data[1]
	v.Rollbacks[0].Recovery.Data = nil
	for i := range 12 {
		one.Name = fmt.Sprintf("%d %s", i, strings.Repeat("<", 120))
		one.Missing = strings.Repeat("&", 600)
		v.Rollbacks[0].Recovery.Data = append(v.Rollbacks[0].Recovery.Data, one)
	}
	valid(t, views.NewCard(v))
	_, body := views.Postmortem(v)
	require.Contains(t, body, "… and 2 data checks more")
}
