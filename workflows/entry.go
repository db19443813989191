package workflows

import (
	"encoding/json"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/workflows/incident"
)

// entry builds one record of the ledger. A payload that can not be encoded is
// left out rather than losing the entry.
func entry(id, key string, kind incident.EventKind, at time.Time, actor, text string, payload any) incident.Entry {
	e := incident.Entry{ID: id, Incident: key, Kind: kind, At: at.UTC(), Actor: actor, Text: text}
	if payload != nil {
		if b, err := json.Marshal(payload); err == nil {
			e.Payload = b
		}
	}
	return e
}

// plain is an activity's failure in the words of whoever made it, without
// Temporal's wrapping.
func plain(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Message()
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return "it did not answer in time"
	}
	if temporal.IsCanceledError(err) {
		return "it was cancelled"
	}
	return err.Error()
}
