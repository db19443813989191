package workflows

import (
	"encoding/json"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/incident"
)

// maxPayload is the largest detail that is recorded with an entry, in bytes, far
// below Temporal's limit of 2 MiB for a payload.
const maxPayload = 256 << 10

// entry builds one record of the ledger. A payload that can not be encoded, or
// is too large, is left out rather than losing the entry.
func entry(id, key string, kind incident.EventKind, at time.Time, actor, text string, payload any) incident.Entry {
	e := incident.Entry{ID: id, Incident: key, Kind: kind, At: at.UTC(), Actor: actor, Text: text}
	if payload != nil {
		// Encoding is a pure function of the payload.
		//workflowcheck:ignore
		if b, err := json.Marshal(payload); err == nil && len(b) <= maxPayload {
			e.Payload = b
		}
	}
	return e
}

// plain is an activity's failure in the words of whoever made it, without
// Temporal's wrapping.
func plain(err error) string {
	if app, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return app.Message()
	}
	if _, ok := errors.AsType[*temporal.TimeoutError](err); ok {
		return "it did not answer in time"
	}
	if temporal.IsCanceledError(err) {
		return "it was cancelled"
	}
	return err.Error()
}
