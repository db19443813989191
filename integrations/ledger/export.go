package ledger

import (
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// Format is how an export is written. The zero value is invalid.
type Format string

// The formats.
const (
	// FormatJSONL is one JSON object a line.
	FormatJSONL Format = "jsonl"
	// FormatCSV is RFC 4180 with a header.
	FormatCSV Format = "csv"
)

// ParseFormat reads the name of a format.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case FormatJSONL, FormatCSV:
		return f, nil
	default:
		return "", fmt.Errorf("parse format: %q is none; use jsonl or csv", s)
	}
}

// ExportOptions say what to export.
type ExportOptions struct {
	Format Format
	// Incident narrows the export to one incident; empty is all.
	Incident string
	// Since leaves out entries of before; zero is all. An entry that was
	// recorded later than it happened is where it was recorded.
	Since time.Time
}

// Export writes entries so that they open anywhere and can be verified without
// the ledger: VerifyExport reads both formats. It returns the last line.
func (l *Ledger) Export(ctx context.Context, to io.Writer, o ExportOptions) (Trailer, error) {
	var write lineWriter
	switch o.Format {
	case FormatJSONL:
		write = jsonWriter{to}
	case FormatCSV:
		write = &csvWriter{to: csv.NewWriter(to)}
	default:
		return Trailer{}, fmt.Errorf("export ledger %q: unknown format %q", l.path, o.Format)
	}
	end := Trailer{Incident: o.Incident, Since: o.Since}
	tx, err := l.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Trailer{}, fmt.Errorf("export ledger %q: %w", l.path, err)
	}
	defer rollback(tx)
	rows, err := tx.QueryContext(ctx, "SELECT "+columns+" FROM entries ORDER BY seq")
	if err != nil {
		return Trailer{}, fmt.Errorf("export ledger %q: %w", l.path, err)
	}
	defer closeRows(rows)
	var hashes strings.Builder
	// Since begins a run of entries and leaves none out of it, so that a gap in
	// an export of all incidents is always a removal.
	begun := o.Since.IsZero()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return Trailer{}, fmt.Errorf("export ledger %q: %w", l.path, err)
		}
		end.Head = Head{Seq: r.seq, Hash: r.hash}
		if !begun {
			at, err := time.Parse(time.RFC3339Nano, r.at)
			begun = err != nil || !at.Before(o.Since)
		}
		if !begun || o.Incident != "" && r.incident != o.Incident {
			continue
		}
		if err := write.line(r.line()); err != nil {
			return Trailer{}, fmt.Errorf("export ledger %q: %w", l.path, err)
		}
		end.Entries++
		hashes.WriteString(r.hash)
	}
	if err := rows.Err(); err != nil {
		return Trailer{}, fmt.Errorf("export ledger %q: %w", l.path, err)
	}
	end.Digest = incident.DigestOf([]byte(hashes.String()))
	if err := write.end(end); err != nil {
		return Trailer{}, fmt.Errorf("export ledger %q: %w", l.path, err)
	}
	return end, nil
}

// lineWriter writes the lines of one format.
type lineWriter interface {
	line(l line) error
	end(t Trailer) error
}

type jsonWriter struct{ to io.Writer }

func (w jsonWriter) line(l line) error { return w.write(l) }

func (w jsonWriter) end(t Trailer) error {
	return w.write(struct {
		End Trailer `json:"end"`
	}{t})
}

func (w jsonWriter) write(v any) error {
	b, err := appendJSON(nil, v)
	if err != nil {
		return err
	}
	_, err = w.to.Write(b)
	return err
}

// csvHeader names the columns, and csvEnd stands in the first one of the last
// row, whose second one is the trailer as JSON.
var csvHeader = []string{"seq", "id", "incident", "kind", "at", "actor", "text", "payload", "prev", "hash"}

const csvEnd = "end"

type csvWriter struct {
	to    *csv.Writer
	begun bool
}

func (w *csvWriter) line(l line) error {
	return w.write([]string{
		strconv.FormatInt(l.Seq, 10), l.ID, l.Incident, l.Kind, l.At, l.Actor, l.Text, string(l.Payload), l.Prev, l.Hash,
	})
}

func (w *csvWriter) end(t Trailer) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if err := w.write([]string{csvEnd, string(b), "", "", "", "", "", "", "", ""}); err != nil {
		return err
	}
	w.to.Flush()
	return w.to.Error()
}

func (w *csvWriter) write(cells []string) error {
	if !w.begun {
		w.begun = true
		if err := w.to.Write(csvHeader); err != nil {
			return err
		}
	}
	for i, c := range cells {
		cells[i] = inert(c)
	}
	return w.to.Write(cells)
}

// formulaStarts are the characters that make a spreadsheet take a cell for a
// formula, also in their wide forms. The apostrophe is what marks a cell as
// text, so that it needs the mark too to be told from it.
// Source: https://owasp.org/www-community/attacks/CSV_Injection
const formulaStarts = "=+-@\t\r\n|%'＝＋－＠"

// inert makes a cell that no spreadsheet evaluates.
func inert(cell string) string {
	cell = spell(cell)
	if cell != "" && strings.ContainsRune(formulaStarts, []rune(cell)[0]) {
		return "'" + cell
	}
	return cell
}

// uninert takes inert back.
func uninert(cell string) string { return unspell(strings.TrimPrefix(cell, "'")) }
