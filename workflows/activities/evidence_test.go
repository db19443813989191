package activities_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

func capture(t *testing.T, phase incident.EvidencePhase) activities.EvidenceInput {
	t.Helper()
	return activities.EvidenceInput{
		EventID: incident.EvidenceID(rollback, phase), Incident: key, Rollback: rollback, Phase: phase, Plan: plan(t), From: onset, Until: now,
	}
}

func TestCaptureEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.docs["config/checkout"] = []driver.Evidence{{Name: "config", MediaType: "text/plain", Content: []byte("color=red\npassword=hunter2hunter2")}}
	a := w.activities(t)
	m, err := a.CaptureEvidence(t.Context(), capture(t, incident.EvidenceBefore))
	require.NoError(t, err)
	require.Len(t, m.Items, 2)
	require.NotEmpty(t, m.Items[0].Digest)
	require.Positive(t, m.Items[0].Redactions)
	require.NotContains(t, string(w.blobs[m.Items[0].Digest]), "hunter2")
	require.Equal(t, "the collector found nothing", m.Items[1].Missing)
	require.Empty(t, m.Items[1].Digest)
	require.Contains(t, w.blobs, m.Digest)
	var kept incident.Manifest
	require.NoError(t, json.Unmarshal(w.entries[0].Payload, &kept))
	require.Equal(t, m, kept)

	w.docs = nil
	again, err := a.CaptureEvidence(t.Context(), capture(t, incident.EvidenceBefore))
	require.NoError(t, err)
	require.Equal(t, m, again, "a retry says what was captured then")
	require.Len(t, w.entries, 1)
}

func TestCaptureEvidenceSaysWhatCouldNotBeStored(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.docs["config/checkout"] = []driver.Evidence{{Name: "config", Content: []byte("x")}}
	puts := 0
	w.fail = func(call string) error {
		if call == "put" {
			if puts++; puts == 1 {
				return errors.New("bucket is away; token=abcdefghijklmnop")
			}
		}
		return nil
	}
	m, err := w.activities(t).CaptureEvidence(t.Context(), capture(t, incident.EvidenceBefore))
	require.NoError(t, err)
	require.Contains(t, m.Items[0].Missing, "could not be stored")
	require.NotContains(t, m.Items[0].Missing, "abcdefghijklmnop")
	require.Empty(t, m.Items[0].Digest, "nothing is addressed that is not there")
}

// TestCaptureEvidenceFailsWhenNothingCanBeRecorded is what keeps a rollback
// from touching anything.
func TestCaptureEvidenceFailsWhenNothingCanBeRecorded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fails string
		want  string
	}{
		{"the store is away", "put", ""},
		{"the ledger can not be written", "append evidence", incident.ErrTypeLedger},
		{"the ledger can not be read", "get", incident.ErrTypeLedger},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.fail = func(call string) error {
				if call == test.fails {
					return errors.New("away")
				}
				return nil
			}
			_, err := w.activities(t).CaptureEvidence(t.Context(), capture(t, incident.EvidenceBefore))
			requireError(t, err, test.want, false)
			require.Empty(t, w.entries)
		})
	}
}

func TestCaptureEvidenceRefusesARecordOfSomethingElse(t *testing.T) {
	t.Parallel()
	in := capture(t, incident.EvidenceBefore)
	other := func(m incident.Manifest) incident.Entry { return evidence(t, m) }
	for _, test := range []struct {
		name  string
		entry incident.Entry
	}{
		{"another kind", incident.Entry{ID: in.EventID, Incident: key, Kind: incident.EventPage, Payload: []byte(`{}`)}},
		{"another rollback", other(incident.Manifest{Rollback: "rollback/pagerduty/Q1/9", Phase: incident.EvidenceBefore})},
		{"another phase", other(incident.Manifest{Rollback: rollback, Phase: incident.EvidenceAfter})},
		{"no manifest", incident.Entry{ID: in.EventID, Incident: key, Kind: incident.EventEvidence}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.entries = append(w.entries, test.entry)
			_, err := w.activities(t).CaptureEvidence(t.Context(), in)
			requireError(t, err, incident.ErrTypeInvalid, true)
		})
	}
}

func TestCaptureEvidenceOfAChangedRunbook(t *testing.T) {
	t.Parallel()
	w := newWorld()
	in := capture(t, incident.EvidenceBefore)
	in.Plan.RunbookDigest = incident.DigestOf([]byte("older"))
	_, err := w.activities(t).CaptureEvidence(t.Context(), in)
	requireError(t, err, incident.ErrTypeInvalid, true)
}
