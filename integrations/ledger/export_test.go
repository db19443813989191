package ledger

import (
	"context"
	"log/slog"
	"time"
)

// Pragma reads a setting of the connection that writes.
func (l *Ledger) Pragma(ctx context.Context, name string) (value string, err error) {
	err = l.write.QueryRowContext(ctx, "PRAGMA "+name).Scan(&value)
	return value, err
}

// Fields are the hashed fields of an entry, for tests that forge one.
type Fields struct {
	Prev, ID, Incident, Kind, At, Actor, Text, Payload string
}

// HashOf is the hash that fits a forged entry.
func HashOf(seq int64, f Fields) string {
	return row{
		seq: seq, prev: f.Prev, id: f.ID, incident: f.Incident, kind: f.Kind, at: f.At,
		actor: f.Actor, text: f.Text, payload: f.Payload,
	}.digest()
}

// StartFastRelay is StartRelay with pauses that a test can wait for.
func StartFastRelay(l *Ledger, sinks ...Sink) *Relay {
	r := newRelay(l, slog.New(slog.DiscardHandler), sinks...)
	r.first, r.last, r.poll = time.Millisecond, 4*time.Millisecond, 2*time.Millisecond
	r.start()
	return r
}

// Forward hands over once what a sink lacks.
func Forward(ctx context.Context, l *Ledger, s Sink) error {
	return newRelay(l, slog.New(slog.DiscardHandler), s).drain(ctx, s)
}

// Spell and Unspell are spell and unspell, Inert and Uninert are inert and uninert.
var (
	Spell   = spell
	Unspell = unspell
	Inert   = inert
	Uninert = uninert
)
