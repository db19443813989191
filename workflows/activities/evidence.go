package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// evidenceLead is how far before the incident the windows of evidence begin.
const evidenceLead = 30 * time.Minute

// CaptureEvidence captures what the runbook names, redacts it, stores it by
// digest and writes the manifest into the ledger. What could not be had is in
// the manifest with the reason. After a rollback the manifest also holds the
// differences from what was captured before it; before a rollback it holds the counts
// of the runbook's data checks, of which the judge makes those after it. It fails only when nothing can
// be recorded.
//
// Killed at any moment and tried again, it captures again: until the manifest is
// in the ledger nothing is touched, so what is captured then is as true.
func (a *Activities) CaptureEvidence(ctx context.Context, in EvidenceInput) (incident.Manifest, error) {
	defer beat(ctx)()
	m := incident.Manifest{Rollback: in.Rollback, Phase: in.Phase}
	was, there, err := a.captured(ctx, in.EventID, in, in.Phase)
	if err != nil || there {
		return was, asActivityError(err)
	}
	rb, err := a.runbook(in.Plan.Runbook, in.Plan.RunbookDigest)
	if err != nil {
		return m, asActivityError(err)
	}
	concrete, err := rb.For(in.Plan.Service)
	if err != nil {
		return m, asActivityError(err)
	}
	var counting sync.WaitGroup
	if in.Phase == incident.EvidenceBefore {
		counting.Go(func() { m.Counts = a.countData(ctx, in.Plan.Service, concrete.Recovery.Data) })
	}
	m.Items = a.capture(ctx, concrete.Evidence, in)
	counting.Wait()
	if err := ctx.Err(); err != nil {
		return m, asActivityError(fmt.Errorf("capture evidence: %w", err))
	}
	if in.Phase == incident.EvidenceAfter {
		differences, err := a.differences(ctx, in, m.Items)
		if err != nil {
			return m, asActivityError(err)
		}
		m.Items = append(m.Items, differences...)
	}
	listed, err := json.Marshal(m)
	if err != nil {
		return m, asActivityError(err)
	}
	if m.Digest, err = a.Evidence.Put(ctx, listed, "application/json"); err != nil {
		return m, asActivityError(fmt.Errorf("store manifest: %w", err))
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return m, asActivityError(err)
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Incident, Kind: incident.EventEvidence, At: a.Now().UTC(), Text: ManifestText(m), Payload: payload,
	})
	return m, asActivityError(err)
}

// captured is the manifest of a phase as the ledger has it. One of something else
// is final.
func (a *Activities) captured(ctx context.Context, id string, in EvidenceInput, phase incident.EvidencePhase) (m incident.Manifest, there bool, err error) {
	if _, there, err = a.recorded(ctx, id, in.Incident, incident.EventEvidence, &m); err != nil || !there {
		return incident.Manifest{Rollback: in.Rollback, Phase: phase}, false, err
	}
	if m.Rollback != in.Rollback || m.Phase != phase {
		return m, false, fmt.Errorf("read %q: %w: it is evidence of something else", id, driver.ErrInvalid)
	}
	return m, true, nil
}
