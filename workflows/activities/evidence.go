package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
)

// evidenceBudget is how long all collectors together may take: evidence must
// not hold a rollback up for longer than people would wait.
const evidenceBudget = 20 * time.Second

// evidenceLead is how far before the incident the windows of evidence begin.
const evidenceLead = 30 * time.Minute

// CaptureEvidence captures what the runbook names, redacts it, stores it by
// digest and writes the manifest into the ledger. What could not be had is in
// the manifest with the reason. It fails only when nothing can be recorded.
func (a *Activities) CaptureEvidence(ctx context.Context, in EvidenceInput) (incident.Manifest, error) {
	defer beat(ctx)()
	m := incident.Manifest{Rollback: in.Rollback, Phase: in.Phase}
	var was incident.Manifest
	if _, there, err := a.recorded(ctx, in.EventID, in.Incident, incident.EventEvidence, &was); err != nil {
		return m, asActivityError(err)
	} else if there {
		if was.Rollback != in.Rollback || was.Phase != in.Phase {
			return m, asActivityError(fmt.Errorf("read %q: %w: it is evidence of something else", in.EventID, driver.ErrInvalid))
		}
		return was, nil
	}
	rb, err := a.runbook(in.Plan.Runbook, in.Plan.RunbookDigest)
	if err != nil {
		return m, asActivityError(err)
	}
	concrete, err := rb.For(in.Plan.Service)
	if err != nil {
		return m, asActivityError(err)
	}
	slots := make([][]incident.EvidenceItem, len(concrete.Evidence))
	budget, cancel := context.WithTimeout(ctx, evidenceBudget)
	defer cancel()
	var wg sync.WaitGroup
	for i, spec := range concrete.Evidence {
		wg.Go(func() { slots[i] = a.captureOne(budget, spec, in) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return m, asActivityError(fmt.Errorf("capture evidence: %w", err))
	}
	for _, s := range slots {
		m.Items = append(m.Items, s...)
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

// captureOne runs one collector; whatever goes wrong is in the items.
func (a *Activities) captureOne(ctx context.Context, spec incident.EvidenceSpec, in EvidenceInput) []incident.EvidenceItem {
	name := spec.Collector + " " + spec.Target.String()
	missing := func(err error) []incident.EvidenceItem {
		return []incident.EvidenceItem{{Name: name, Collector: spec.Collector, Missing: said(err), At: a.Now().UTC()}}
	}
	c, err := a.Systems.Collector(spec.Collector, spec.Target.System)
	if err != nil {
		return missing(err)
	}
	docs, err := c.Collect(ctx, driver.CollectRequest{
		Target: spec.Target, From: in.From.Add(-evidenceLead), Until: in.Until, Params: spec.Params,
	})
	if err != nil {
		return missing(err)
	}
	if len(docs) == 0 {
		return missing(fmt.Errorf("the collector found nothing"))
	}
	var items []incident.EvidenceItem
	for _, d := range docs {
		clean, n := redact.Redact(d.Content)
		item := incident.EvidenceItem{Name: d.Name, Collector: spec.Collector, MediaType: d.MediaType, Size: int64(len(clean)), Redactions: n, At: a.Now().UTC()}
		if item.Digest, err = a.Evidence.Put(ctx, clean, d.MediaType); err != nil {
			item.Digest, item.Missing, item.Size = "", "it was captured and could not be stored: "+said(err), 0
		}
		items = append(items, item)
	}
	return items
}
