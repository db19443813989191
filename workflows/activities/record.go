package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// errLedger means that the ledger could not be written or read.
var errLedger = errors.New("ledger unavailable")

// write appends one entry; its failure forbids whatever was to follow. It is
// final when the ledger has something else under that ID.
func (a *Activities) write(ctx context.Context, e incident.Entry) (incident.Recorded, error) {
	rec, err := a.Ledger.Append(ctx, e)
	if err == nil {
		return rec, nil
	}
	if have, there, gerr := a.Ledger.Get(ctx, e.ID); gerr == nil && there && !sameRecord(have, e) {
		return rec, fmt.Errorf("write %q: %w: the ledger has another record there: %w", e.ID, driver.ErrInvalid, err)
	}
	return rec, fmt.Errorf("%w: write %q: %w", errLedger, e.ID, err)
}

// sameRecord reports whether two entries say the same, whenever they were
// written.
func sameRecord(a, b incident.Entry) bool {
	return a.Incident == b.Incident && a.Kind == b.Kind && a.Actor == b.Actor && a.Text == b.Text && compact(a.Payload) == compact(b.Payload)
}

func compact(payload json.RawMessage) string {
	var b bytes.Buffer
	if len(payload) == 0 || json.Compact(&b, payload) != nil {
		return string(payload)
	}
	return b.String()
}

// recorded reads back what an earlier attempt wrote. A record of something
// else under that ID is final: it can not be told what the attempt did.
func (a *Activities) recorded(ctx context.Context, id, key string, kind incident.EventKind, into any) (e incident.Entry, there bool, err error) {
	e, there, err = a.Ledger.Get(ctx, id)
	switch {
	case err != nil:
		return e, false, fmt.Errorf("%w: read %q: %w", errLedger, id, err)
	case !there:
		return e, false, nil
	case e.Kind != kind || e.Incident != key:
		return e, false, fmt.Errorf("read %q: %w: the ledger has another record there, a %s of %q", id, driver.ErrInvalid, e.Kind, e.Incident)
	}
	if err := json.Unmarshal(e.Payload, into); err != nil {
		return e, false, fmt.Errorf("decode %q: %w: %w", id, driver.ErrInvalid, err)
	}
	return e, true, nil
}

// Record writes entries of the ledger. What authority is read from is written
// by the activities that establish it, and refused here.
func (a *Activities) Record(ctx context.Context, in RecordInput) error {
	for _, e := range in.Entries {
		if err := recordable(e); err != nil {
			a.refused(ctx, e.Incident, "record "+e.ID, err)
			return asActivityError(err)
		}
	}
	if _, err := a.Ledger.AppendAll(ctx, in.Entries); err == nil {
		return nil
	}
	// One at a time says which of them the ledger refuses.
	for _, e := range in.Entries {
		if _, err := a.write(ctx, e); err != nil {
			return asActivityError(err)
		}
	}
	return nil
}

// judgedID are the IDs of answers and commands that were judged.
var judgedID = regexp.MustCompile(`/[cd][0-9a-f]{24}$`)

// recordable refuses an entry that could be taken for an answer that was judged,
// for captured evidence, or for an effect.
func recordable(e incident.Entry) error {
	var claim any
	switch e.Kind {
	case incident.EventIntent, incident.EventActionDone:
		return fmt.Errorf("record %q: %w: what is %q is written with its effect", e.ID, driver.ErrInvalid, e.Kind)
	case incident.EventEvidence:
		claim = &struct{}{}
	case incident.EventDecision:
		claim = &incident.DecideRequest{}
		if judgedID.MatchString(e.ID) {
			return fmt.Errorf("record %q: %w: the ID is that of a judged answer", e.ID, driver.ErrInvalid)
		}
	case incident.EventCommand:
		claim = &incident.CommandRequest{}
		if judgedID.MatchString(e.ID) {
			return fmt.Errorf("record %q: %w: the ID is that of a judged command", e.ID, driver.ErrInvalid)
		}
	case incident.EventPage, incident.EventChange, incident.EventOptions, incident.EventRollback, incident.EventLock,
		incident.EventVerdict, incident.EventEscalation, incident.EventPostmortem, incident.EventPhaseChange, incident.EventReminder, incident.EventAttempt, incident.EventPin:
		return nil
	default:
		return fmt.Errorf("record %q: %w: unknown kind %q", e.ID, driver.ErrInvalid, e.Kind)
	}
	if len(e.Payload) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(e.Payload))
	dec.DisallowUnknownFields()
	if err := dec.Decode(claim); err != nil {
		return fmt.Errorf("record %q: %w: what is %q, with such a payload, is written by whoever judged it", e.ID, driver.ErrInvalid, e.Kind)
	}
	return nil
}
