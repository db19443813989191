package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// handOver sends a handover, under an update ID that may be another than the
// command's.
func handOver(w *world, at time.Duration, updateID, id string) *incident.Result {
	return update(w, at, incident.UpdateCommand, updateID, incident.CommandRequest{
		CommandID: id, Verb: incident.VerbHandOver, Actor: incident.Actor{Via: incident.ViaCLI, Login: "ada"},
		To: &incident.Actor{Via: incident.ViaCLI, Login: "bob"},
	})
}

func TestHandoverMakesAnotherPersonCommanderAndVoidsWhatIsPending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked []activities.AuthorizeInput
	w.authorize = func(in activities.AuthorizeInput) (activities.AuthorizeResult, error) {
		asked = append(asked, in)
		res := activities.AuthorizeResult{Outcome: incident.OutcomeAccepted, Person: ada}
		if in.Request.To != nil {
			res.Target = bob
		}
		return res, nil
	}
	w.decide = func(in activities.DecideInput) (activities.DecideResult, error) {
		got := decided(in, incident.OutcomeWaiting)
		got.Waiting = "an owner of checkout"
		return got, nil
	}
	update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
	took := command(w, time.Minute, "c1", incident.VerbTakeCommand)
	update(w, 2*time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
	handed := handOver(w, 3*time.Minute, "u2", "c2")
	again := handOver(w, 4*time.Minute, "u3", "c3")
	repeated := handOver(w, 5*time.Minute, "u4", "c2")
	update(w, 6*time.Minute, incident.UpdateDecide, "d2", decide("UBOB", "d2", option(t, "o1")))
	resolved(w, time.Hour)
	v := w.run(t)
	require.Equal(t, incident.OutcomeAccepted, took.Outcome)
	require.Equal(t, incident.OutcomeAccepted, handed.Outcome)
	require.Equal(t, bob.Name+" is the incident commander", handed.Reason)
	require.Equal(t, "they are the incident commander already", again.Reason)
	require.Equal(t, incident.OutcomeDuplicate, repeated.Outcome)
	require.Equal(t, &bob, v.Commander)
	require.Len(t, asked, 3)
	require.Equal(t, &ada, asked[1].Commander, "the handover is judged by who has the command")
	require.Equal(t, &bob, asked[2].Commander)
	require.Equal(t, incident.OutcomeStale, v.Decisions[0].Outcome, "what was pending is void")
	require.Equal(t, opened.Add(3*time.Minute), w.decided[1].VoidBefore)
	require.Equal(t, &bob, w.decided[1].Commander)
}

func TestHandoverThatIsNotAllowedChangesNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer activities.AuthorizeResult
	}{
		{"denied", activities.AuthorizeResult{Outcome: incident.OutcomeDenied, Person: ada, Target: bob, Reason: "no"}},
		{"nobody asked", activities.AuthorizeResult{Outcome: incident.OutcomeUnidentified, Target: bob, Reason: "no"}},
		{"nobody was named", activities.AuthorizeResult{Outcome: incident.OutcomeAccepted, Person: ada}},
		{"somebody without an identity was named", activities.AuthorizeResult{Outcome: incident.OutcomeAccepted, Person: ada, Target: incident.Person{Name: "Bob"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.authorize = func(in activities.AuthorizeInput) (activities.AuthorizeResult, error) {
				if in.Request.To == nil {
					return activities.AuthorizeResult{Outcome: incident.OutcomeAccepted, Person: ada}, nil
				}
				return tt.answer, nil
			}
			update(w, 0, incident.UpdatePage, "p1", page("p1", incident.PageTriggered, 0))
			command(w, time.Minute, "c1", incident.VerbTakeCommand)
			handed := handOver(w, 2*time.Minute, "u2", "c2")
			update(w, 3*time.Minute, incident.UpdateDecide, "d1", decide("UADA", "d1", option(t, "o1")))
			resolved(w, time.Hour)
			v := w.run(t)
			require.NotEqual(t, incident.OutcomeAccepted, handed.Outcome)
			require.Equal(t, &ada, v.Commander)
			require.Equal(t, opened.Add(time.Minute), w.decided[0].VoidBefore)
		})
	}
}
