package ledger

import "context"

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
