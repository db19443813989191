package product

import (
	"context"
	"errors"
	"fmt"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/workflows/incident"
)

// audit is the ledger as the activities want it.
type audit struct{ *ledger.Ledger }

// Append marks what trying again can not help as final.
func (a audit) Append(ctx context.Context, e incident.Entry) (incident.Recorded, error) {
	rec, err := a.Ledger.Append(ctx, e)
	if errors.Is(err, ledger.ErrInvalid) || errors.Is(err, ledger.ErrConflict) {
		return rec, fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	return rec, err
}

// AppendAll marks what trying again can not help as final.
func (a audit) AppendAll(ctx context.Context, entries []incident.Entry) ([]incident.Recorded, error) {
	rec, err := a.Ledger.AppendAll(ctx, entries)
	if errors.Is(err, ledger.ErrInvalid) || errors.Is(err, ledger.ErrConflict) {
		return rec, fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	return rec, err
}

// Get returns the entry with an ID, and whether there is one.
func (a audit) Get(ctx context.Context, id string) (incident.Entry, bool, error) {
	r, err := a.Ledger.Get(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return incident.Entry{}, false, nil
	}
	return r.Entry, err == nil, err
}

// Of returns the entries of one kind of an incident.
func (a audit) Of(ctx context.Context, key string, kind incident.EventKind) ([]incident.Entry, error) {
	records, err := a.Kind(ctx, key, kind)
	if err != nil {
		return nil, err
	}
	entries := make([]incident.Entry, len(records))
	for i, r := range records {
		entries[i] = r.Entry
	}
	return entries, nil
}

// noChannel stands in when no Slack is configured: the console and the CLI
// show the same view.
type noChannel struct{}

// Publish shows nothing.
func (noChannel) Publish(_ context.Context, v incident.View) (incident.CardRef, error) {
	return v.Card, nil
}

// Tell tells nobody.
func (noChannel) Tell(context.Context, incident.Actor, string) error { return nil }

// Say says nothing.
func (noChannel) Say(context.Context, incident.CardRef, string, string) error { return nil }
