package activities_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals/attest"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

const tookCommand = "took command"

// botKey is the key of the bot, and strangeKey one that nobody trusts.
var (
	botKey     = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	strangeKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
)

func signer(t *testing.T, key ed25519.PrivateKey) *attest.Signer {
	t.Helper()
	s, err := attest.NewSigner(key)
	require.NoError(t, err)
	return s
}

func verifier(t *testing.T) *attest.Verifier {
	t.Helper()
	v, err := attest.NewVerifier(botKey.Public().(ed25519.PublicKey))
	require.NoError(t, err)
	return v
}

// click has an answer signed by the bot, given at the moment at which it is judged,
// and judged with the commander in command.
func click(t *testing.T, a *activities.Activities, in activities.DecideInput) (activities.DecideResult, error) {
	t.Helper()
	return clickWithin(t.Context(), t, a, in)
}

// clickWithin is click with a context of its own.
func clickWithin(ctx context.Context, t *testing.T, a *activities.Activities, in activities.DecideInput) (activities.DecideResult, error) {
	t.Helper()
	at := *a
	at.Now = func() time.Time { return in.Now }
	in.Request.At = in.Now
	var err error
	in.Request, err = signer(t, botKey).Decision(in.Key, in.Request)
	require.NoError(t, err)
	if in.Commander != nil {
		commands(t, a.Ledger.(ledger).w, *in.Commander)
	}
	return at.Decide(ctx, in)
}

// typed has a command signed by the bot, and judged.
func typed(t *testing.T, a *activities.Activities, in activities.AuthorizeInput) (activities.AuthorizeResult, error) {
	t.Helper()
	if in.Request.At.IsZero() {
		in.Request.At = in.Now
	}
	var err error
	in.Request, err = signer(t, botKey).Command(in.Key, in.Request)
	require.NoError(t, err)
	if in.Commander != nil {
		commands(t, a.Ledger.(ledger).w, *in.Commander)
	}
	return a.Authorize(t.Context(), in)
}

// commands has a person take the command long before, once.
func commands(t *testing.T, w *world, p incident.Person) {
	t.Helper()
	e := command(t, signer(t, botKey), p, "took-"+p.ID, now.Add(-time.Hour))
	for _, have := range w.entries {
		if have.ID == e.ID {
			return
		}
	}
	w.entries = append(w.entries, e)
}

// command is the record of a person who took the command.
func command(t *testing.T, s *attest.Signer, p incident.Person, id string, at time.Time) incident.Entry {
	t.Helper()
	request, err := s.Command(key, incident.CommandRequest{CommandID: id, Verb: incident.VerbTakeCommand, Actor: cli(p.ID), At: at})
	require.NoError(t, err)
	payload, err := json.Marshal(map[string]any{
		"outcome": incident.OutcomeAccepted, "person": p, "command_id": id, "verb": incident.VerbTakeCommand, "request": request,
	})
	require.NoError(t, err)
	return incident.Entry{ID: incident.CommandEventID(key, id), Incident: key, Kind: incident.EventCommand, At: at, Text: tookCommand, Payload: payload}
}

// kind are the entries of one kind.
func (w *world) kind(k incident.EventKind) []incident.Entry {
	var out []incident.Entry
	for _, e := range w.entries {
		if e.Kind == k {
			out = append(out, e)
		}
	}
	return out
}

// fresh are the entries that were written in the test itself, and not by commands.
func (w *world) fresh() []incident.Entry {
	var out []incident.Entry
	for _, e := range w.entries {
		if e.Text != tookCommand {
			out = append(out, e)
		}
	}
	return out
}

// TestDecideTakesOnlyWhatTheBotSigned has somebody who can write to Temporal and run
// activities speak for the person on call.
func TestDecideTakesOnlyWhatTheBotSigned(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(*testing.T, *activities.Activities, *activities.DecideInput)
		says  string
	}{
		{"without a signature", func(_ *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			in.Request.Attestation = nil
		}, "not sent by Backout's own bot"},
		{"with a key of one's own", func(t *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			var err error
			in.Request, err = signer(t, strangeKey).Decision(in.Key, in.Request)
			require.NoError(t, err)
		}, "not sent by Backout's own bot"},
		{"with the name of the key", func(t *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			id := in.Request.Attestation.KeyID
			var err error
			in.Request, err = signer(t, strangeKey).Decision(in.Key, in.Request)
			require.NoError(t, err)
			in.Request.Attestation.KeyID = id
		}, "not sent by Backout's own bot"},
		{"by another person", func(_ *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			in.Request.Actor = cli("ben")
		}, "not sent by Backout's own bot"},
		{"a refusal turned round", func(t *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			in.Request.Answer = incident.AnswerRefuse
			var err error
			in.Request, err = signer(t, botKey).Decision(in.Key, in.Request)
			require.NoError(t, err)
			in.Request.Answer = incident.AnswerApprove
		}, "not sent by Backout's own bot"},
		{"break-glass put on", func(_ *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			in.Request.BreakGlass, in.Request.Reason = true, "because"
		}, "not sent by Backout's own bot"},
		{"a second proof put on", func(_ *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			in.Request.StepUp = &incident.StepUp{Method: "webauthn", PlanDigest: in.Request.PlanDigest, At: now}
		}, "not sent by Backout's own bot"},
		{"of another incident", func(t *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			var err error
			in.Request, err = signer(t, botKey).Decision("pagerduty/Q2", in.Request)
			require.NoError(t, err)
		}, "not sent by Backout's own bot"},
		{"a command's signature", func(t *testing.T, _ *activities.Activities, in *activities.DecideInput) {
			q, err := signer(t, botKey).Command(in.Key, incident.CommandRequest{CommandID: in.Request.DecisionID, Actor: in.Request.Actor, At: now})
			require.NoError(t, err)
			in.Request.Attestation = q.Attestation
		}, "not sent by Backout's own bot"},
		{"nobody checks signatures", func(_ *testing.T, a *activities.Activities, _ *activities.DecideInput) { a.Attestations = nil }, "not sent by Backout's own bot"},
		{"kept for later", func(_ *testing.T, a *activities.Activities, _ *activities.DecideInput) {
			a.Now = func() time.Time { return now.Add(6 * time.Minute) }
		}, "arrives only now"},
		{"dated in the future", func(_ *testing.T, a *activities.Activities, _ *activities.DecideInput) {
			a.Now = func() time.Time { return now.Add(-2 * time.Minute) }
		}, "in the future"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.onCall["PCHECK"] = []incident.Person{ada}
			a := w.activities(t)
			in := ask(t, incident.TierOnCall, "ada", "1")
			var err error
			in.Request, err = signer(t, botKey).Decision(in.Key, in.Request)
			require.NoError(t, err)
			test.spoil(t, a, &in)
			got, err := a.Decide(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, incident.OutcomeUnidentified, got.Decision.Outcome)
			require.Contains(t, got.Decision.Sentence, test.says)
			require.Empty(t, got.Approvers)
			require.Zero(t, got.Decision.Person)
			require.Len(t, w.entries, 1, "the attempt is on record")
		})
	}
}

// TestAnAnswerCountsOnce has an answer that was genuine given again under another
// event, which would start another rollback.
func TestAnAnswerCountsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.onCall["PCHECK"] = []incident.Person{ada}
	in := ask(t, incident.TierOnCall, "ada", "1")
	in.Rollback = rollback
	first, err := click(t, w.activities(t), in)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeApproved, first.Decision.Outcome)

	again := in
	again.Rollback = incident.RollbackID(key, 2)
	_, err = click(t, w.activities(t), again)
	require.NoError(t, err)
	require.Len(t, w.entries, 1, "it is the answer that is on record, for the rollback that it started")
	again.EventID = key + "/e99"
	_, err = click(t, w.activities(t), again)
	requireError(t, err, incident.ErrTypeInvalid, true)
	require.Len(t, w.entries, 1)
}

// TestWhoIsInCommandIsOnRecord has somebody name a commander who never took the
// command, or does not have it any more.
func TestWhoIsInCommandIsOnRecord(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		entries func(*testing.T) []incident.Entry
		want    incident.Outcome
	}{
		{"who took it", func(t *testing.T) []incident.Entry {
			return []incident.Entry{command(t, signer(t, botKey), ada, "c1", now.Add(-time.Hour))}
		}, incident.OutcomeApproved},
		{"nobody took it", func(*testing.T) []incident.Entry { return nil }, incident.OutcomeDenied},
		{"who signed it alone", func(t *testing.T) []incident.Entry {
			return []incident.Entry{command(t, signer(t, strangeKey), ada, "c1", now.Add(-time.Hour))}
		}, incident.OutcomeDenied},
		{"who gave it away", func(t *testing.T) []incident.Entry {
			return []incident.Entry{
				command(t, signer(t, botKey), ada, "c1", now.Add(-time.Hour)),
				command(t, signer(t, botKey), ben, "c2", now.Add(-time.Minute)),
			}
		}, incident.OutcomeDenied},
		{"under another ID", func(t *testing.T) []incident.Entry {
			e := command(t, signer(t, botKey), ada, "c1", now.Add(-time.Hour))
			e.ID = key + "/e7"
			return []incident.Entry{e}
		}, incident.OutcomeDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.entries = test.entries(t)
			in := ask(t, incident.TierCommander, "ada", "1")
			in.Commander = &ada
			var err error
			in.Request, err = signer(t, botKey).Decision(in.Key, in.Request)
			require.NoError(t, err)
			got, err := w.activities(t).Decide(t.Context(), in)
			require.NoError(t, err)
			require.Equal(t, test.want, got.Decision.Outcome, got.Decision.Sentence)
		})
	}
}

// TestExecuteActionChecksSignatures has somebody change a recorded decision, as one
// who can write to the ledger's file might.
func TestExecuteActionChecksSignatures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(map[string]any)
	}{
		{"no request", func(d map[string]any) { delete(d, "request") }},
		{"no signature", func(d map[string]any) { delete(d["request"].(map[string]any), "attestation") }},
		{"another person's request", func(d map[string]any) {
			d["request"].(map[string]any)["actor"].(map[string]any)["login"] = "ben"
		}},
		{"another actor", func(d map[string]any) { d["actor"].(map[string]any)["login"] = "ben" }},
		{"a later date", func(d map[string]any) { d["at"] = now.Add(time.Minute) }},
		{"a plan that was not signed", func(d map[string]any) {
			d["request"].(map[string]any)["plan_digest"] = incident.DigestOf([]byte("other"))
		}},
		{"break-glass", func(d map[string]any) { d["break_glass"], d["reason"] = true, "because" }},
		{"another decision", func(d map[string]any) { d["id"] = "d3" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			in := approved(t, w)
			rewrite(t, w, test.spoil)
			_, err := w.activities(t).ExecuteAction(t.Context(), in)
			requireError(t, err, incident.ErrTypeDenied, true)
			require.Zero(t, w.targets["config/checkout"].mutations)
		})
	}
}

func TestAuthorizeTakesOnlyWhatTheBotSigned(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.onCall["PCHECK"] = []incident.Person{ada}
	in := activities.AuthorizeInput{
		EventID: incident.CommandEventID(key, "c1"), Key: key, Service: "checkout", Now: now,
		Request: incident.CommandRequest{CommandID: "c1", Verb: incident.VerbTakeCommand, Actor: cli("ada"), At: now},
	}
	got, err := w.activities(t).Authorize(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, incident.OutcomeUnidentified, got.Outcome)
	require.Len(t, w.entries, 1)
}
