package views_test

import (
	"bytes"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// While a plan waits for objections nothing can be approved by a button: one takes the
// approval back, for exactly the plan that waits.
func TestAPlanThatWaitsHasAButtonToObject(t *testing.T) {
	t.Parallel()
	v := objections()
	v.Options[1].StepUp = true
	for _, c := range []views.Card{views.NewCard(v), views.Preview(v, v.Options[0])} {
		valid(t, c)
		require.Zero(t, primaries(c))
		objects := 0
		for _, b := range buttons(c) {
			action, _ := views.SplitAction(b.ActionID)
			require.NotContains(t, []string{views.ActionApprove, views.ActionConsole}, action)
			if b.Text.Text != "Object to o1" {
				continue
			}
			objects++
			ref, err := views.ParseRef(b.Value)
			require.NoError(t, err)
			require.Equal(t, views.ActionRefuse, action, "an objection is a refusal, with a reason")
			require.Equal(t, slack.StyleDanger, b.Style)
			require.Equal(t, v.Objections.PlanDigest, ref.Digest)
		}
		require.Equal(t, 1, objects)
	}
	var page bytes.Buffer
	require.NoError(t, views.Console(&page, v, views.Visitor{}))
	require.Contains(t, page.String(), `value="refuse">Object to o1<`)
	require.Contains(t, page.String(), `value="refuse">Refuse o2<`)
	require.NotContains(t, page.String(), `value="approve"`)
	page.Reset()
	require.NoError(t, views.ConsoleStepUp(&page, v, v.Options[1], views.StepUp{}))
	require.Contains(t, page.String(), "Starts at 03:14:20 UTC unless somebody objects. No approval is needed meanwhile")
}

// What waits is said only while somebody can object.
func TestAPlanThatWaitedIsNotSaidToWait(t *testing.T) {
	t.Parallel()
	for _, phase := range []incident.Phase{incident.PhaseCollecting, incident.PhaseRollingBack, incident.PhaseValidating, incident.PhaseRecovered, incident.PhaseClosed, "new"} {
		v := objections()
		v.Phase = phase
		require.NotContains(t, views.NewCard(v).Text, "unless somebody objects", phase)
	}
	v := objections()
	v.Objections.Approvers = nil
	require.Contains(t, views.NewCard(v).Text, "Approved by somebody whose name is not known")
	for range 40 {
		v.Objections.Approvers = append(v.Objections.Approvers, incident.Person{ID: "x", Name: "<!channel> *x*"})
	}
	c := views.NewCard(v)
	valid(t, c)
	require.NotContains(t, c.Text, "<!channel>")
	require.Contains(t, c.Text, "and 35 more")
}
