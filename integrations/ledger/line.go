package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// line is a row outside the database: every hashed field as it is hashed, so
// that whoever has it can compute the hash again.
type line struct {
	Seq      int64           `json:"seq"`
	ID       string          `json:"id"`
	Incident string          `json:"incident"`
	Kind     string          `json:"kind"`
	At       string          `json:"at"`
	Actor    string          `json:"actor"`
	Text     string          `json:"text"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	Prev     string          `json:"prev"`
	Hash     string          `json:"hash"`
	// End is set on the last line of an export, and on no other.
	End *Trailer `json:"end,omitempty"`
}

// Trailer is the last line of an export: what was asked for, and what is in it.
// Without it an export was cut off.
type Trailer struct {
	// Incident and Since are what the export was narrowed to; empty is all.
	Incident string    `json:"incident,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	// Entries counts the lines before, and Digest is the SHA-256 of their
	// hashes in order.
	Entries int64  `json:"entries"`
	Digest  string `json:"digest"`
	// Head is the end of the ledger when the export was made.
	Head Head `json:"head"`
}

// maxLine is the longest line that is read, in bytes: a row whose every byte was
// escaped to six.
const maxLine = escapeBytes*(maxID+3*maxField+maxText+maxPayload) + 4096

// errNotALine means that a line is no JSON object of a ledger.
var errNotALine = errors.New("the line is no entry")

func (r row) line() line {
	l := line{
		Seq: r.seq, ID: r.id, Incident: r.incident, Kind: r.kind, At: r.at, Actor: r.actor, Text: r.text, Prev: r.prev, Hash: r.hash,
	}
	if r.payload != "" {
		l.Payload = json.RawMessage(r.payload)
	}
	return l
}

func (l line) row() row {
	return row{
		seq: l.Seq, id: l.ID, incident: l.Incident, kind: l.Kind, at: l.At, actor: l.Actor, text: l.Text,
		payload: string(l.Payload), prev: l.Prev, hash: l.Hash,
	}
}

// appendJSON appends a line as JSON with its line feed.
func appendJSON(b []byte, v any) ([]byte, error) {
	var one bytes.Buffer
	enc := json.NewEncoder(&one)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return b, fmt.Errorf("encode entry: %w", err)
	}
	return append(b, spell(one.String())...), nil
}

// parseLine reads what appendJSON wrote. Unknown and missing fields are refused by
// the hash, which they are not part of or part of.
func parseLine(b []byte) (line, error) {
	var l line
	dec := json.NewDecoder(bytes.NewReader([]byte(unspell(string(b)))))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return line{}, errNotALine
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return line{}, errNotALine
	}
	if l.End == nil && (l.Seq < 1 || l.Hash == "") {
		return line{}, errNotALine
	}
	return l, nil
}
