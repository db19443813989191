package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Bounds of an entry, in bytes. They are this package's own: an entry is a
// line of an audit record, and documents belong into the evidence store.
const (
	maxID      = 512
	maxField   = 4 << 10
	maxText    = 64 << 10
	maxPayload = 1 << 20
)

// chainDomain keeps a hash of the chain from being the hash of anything else.
const chainDomain = "backout ledger entry v1"

// columns are those of a row, in the order that scan reads.
const columns = "seq, id, incident, kind, at, actor, text, payload, prev, hash"

// row is an entry as it is stored: every field exactly as it is hashed.
type row struct {
	seq                                          int64
	id, incident, kind, at, actor, text, payload string
	prev, hash                                   string
}

// newRow normalizes an entry: times to UTC, JSON without white space, text to
// UTF-8 without NUL, since SQLite and JSON could not give back anything else.
func newRow(e incident.Entry) (row, error) {
	r := row{
		id: e.ID, incident: clean(e.Incident), kind: clean(string(e.Kind)),
		at: e.At.UTC().Format(time.RFC3339Nano), actor: clean(e.Actor), text: clean(e.Text),
	}
	if len(e.Payload) > 0 {
		var compact bytes.Buffer
		if err := json.Compact(&compact, e.Payload); err != nil {
			return row{}, fmt.Errorf("%w: payload is not JSON", ErrInvalid)
		}
		r.payload = clean(compact.String())
		if !strings.HasPrefix(r.payload, "{") {
			return row{}, fmt.Errorf("%w: payload is not a JSON object", ErrInvalid)
		}
	}
	switch {
	case r.id == "" || len(r.id) > maxID || clean(r.id) != r.id:
		return row{}, fmt.Errorf("%w: the ID must be 1 to %d bytes of UTF-8", ErrInvalid, maxID)
	case r.kind == "":
		return row{}, fmt.Errorf("%w: the kind is empty", ErrInvalid)
	case e.At.IsZero():
		return row{}, fmt.Errorf("%w: the time is zero", ErrInvalid)
	case len(r.incident) > maxField || len(r.kind) > maxField || len(r.actor) > maxField:
		return row{}, fmt.Errorf("%w: incident, kind or actor is longer than %d bytes", ErrInvalid, maxField)
	case len(r.text) > maxText:
		return row{}, fmt.Errorf("%w: text is longer than %d bytes", ErrInvalid, maxText)
	case len(r.payload) > maxPayload:
		return row{}, fmt.Errorf("%w: payload is longer than %d bytes", ErrInvalid, maxPayload)
	}
	return r, nil
}

func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// sameContent reports whether two rows say the same. The time does not count:
// a retry of the same step may have read a later clock.
func (r row) sameContent(other row) bool {
	return r.id == other.id && r.incident == other.incident && r.kind == other.kind &&
		r.actor == other.actor && r.text == other.text && r.payload == other.payload
}

// digest is the hash of the row's content, of its number and of the hash
// before it. Every field is preceded by its length, so that no two rows encode
// alike.
func (r row) digest() string { return r.digestAt(r.seq, r.prev) }

func (r row) digestAt(seq int64, prev string) string {
	var b []byte
	for _, field := range []string{chainDomain, fmt.Sprint(seq), prev, r.id, r.incident, r.kind, r.at, r.actor, r.text, r.payload} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
		b = append(b, field...)
	}
	return incident.DigestOf(b)
}

// recorded is what Append answers for the row.
func (r row) recorded(existed bool) (incident.Recorded, error) {
	at, err := time.Parse(time.RFC3339Nano, r.at)
	if err != nil {
		return incident.Recorded{}, fmt.Errorf("read entry %d: %w: its time is unreadable", r.seq, ErrTampered)
	}
	return incident.Recorded{ID: r.id, Seq: r.seq, Hash: r.hash, At: at, Existed: existed}, nil
}

func (r row) record() (Record, error) {
	at, err := time.Parse(time.RFC3339Nano, r.at)
	if err != nil {
		return Record{}, fmt.Errorf("read entry %d: %w: its time is unreadable", r.seq, ErrTampered)
	}
	rec := Record{Seq: r.seq, Prev: r.prev, Hash: r.hash, Entry: incident.Entry{
		ID: r.id, Incident: r.incident, Kind: incident.EventKind(r.kind), At: at, Actor: r.actor, Text: r.text,
	}}
	if r.payload != "" {
		rec.Entry.Payload = json.RawMessage(r.payload)
	}
	return rec, nil
}

// scan reads one row from *sql.Row or *sql.Rows.
func scan(from interface{ Scan(into ...any) error }) (row, error) {
	var r row
	err := from.Scan(&r.seq, &r.id, &r.incident, &r.kind, &r.at, &r.actor, &r.text, &r.payload, &r.prev, &r.hash)
	return r, err
}
