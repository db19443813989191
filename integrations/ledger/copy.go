package ledger

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// lines are the lines of a copy of the ledger in order. next returns io.EOF
// after the last one, and an error wrapping errNotALine for one that is none.
type lines interface {
	next() (line, error)
}

// openLines tells the formats apart: JSON begins with a brace.
func openLines(from io.Reader) (lines, error) {
	b := bufio.NewReaderSize(from, 64<<10)
	first, err := b.Peek(1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(first) > 0 && first[0] != '{' {
		r := csv.NewReader(b)
		r.FieldsPerRecord = len(csvHeader)
		header, err := r.Read()
		if err != nil || strings.Join(header, ",") != strings.Join(csvHeader, ",") {
			return nil, fmt.Errorf("%w: neither JSON nor the header of an export", errNotALine)
		}
		return &csvLines{from: r}, nil
	}
	s := bufio.NewScanner(b)
	s.Buffer(nil, maxLine)
	return &jsonLines{from: s}, nil
}

type jsonLines struct{ from *bufio.Scanner }

func (l *jsonLines) next() (line, error) {
	for l.from.Scan() {
		if b := bytes.TrimSpace(l.from.Bytes()); len(b) > 0 {
			return parseLine(b)
		}
	}
	if err := l.from.Err(); errors.Is(err, bufio.ErrTooLong) {
		return line{}, fmt.Errorf("%w: it is too long", errNotALine)
	} else if err != nil {
		return line{}, err
	}
	return line{}, io.EOF
}

type csvLines struct{ from *csv.Reader }

func (l *csvLines) next() (line, error) {
	cells, err := l.from.Read()
	if errors.Is(err, io.EOF) {
		return line{}, io.EOF
	}
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return line{}, fmt.Errorf("%w: line %d is no CSV", errNotALine, parse.Line)
	}
	if err != nil {
		return line{}, err
	}
	for i, c := range cells {
		cells[i] = uninert(c)
	}
	if cells[0] == csvEnd {
		var end Trailer
		if json.Unmarshal([]byte(cells[1]), &end) != nil {
			return line{}, errNotALine
		}
		return line{End: &end}, nil
	}
	seq, err := strconv.ParseInt(cells[0], 10, 64)
	if err != nil {
		return line{}, errNotALine
	}
	return line{
		Seq: seq, ID: cells[1], Incident: cells[2], Kind: cells[3], At: cells[4], Actor: cells[5], Text: cells[6],
		Payload: json.RawMessage(cells[7]), Prev: cells[8], Hash: cells[9],
	}, nil
}

// VerifyExport reads an export and reports the first bad entry: changed, removed,
// inserted, moved, or cut off. An export of one incident has gaps, which it shows
// to be whole by the count and digest of its last line. Who can write the file can
// also make another one that is whole: compare Report.Head, or check it with
// Ledger.VerifyHead.
func VerifyExport(from io.Reader) (Report, error) {
	in, err := openLines(from)
	if errors.Is(err, errNotALine) {
		return Report{First: &Problem{What: "The file is no export of a ledger."}}, nil
	}
	if err != nil {
		return Report{}, fmt.Errorf("read export: %w", err)
	}
	c := copyChain{}
	var end *Trailer
	for {
		l, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errNotALine) {
			return Report{}, fmt.Errorf("read export: %w", err)
		}
		switch {
		case end != nil:
			c.blame(Problem{What: "Something follows the last line of the export."})
		case err != nil:
			c.blame(Problem{Seq: c.last.seq + 1, What: fmt.Sprintf("What follows entry %d is no entry.", c.last.seq)})
		case l.End != nil:
			end = l.End
		default:
			c.add(l.row())
		}
	}
	report := Report{Entries: c.count, Head: Head{Seq: c.last.seq, Hash: c.last.hash}, First: c.first}
	if report.First == nil {
		report.First = c.finish(end)
	}
	return report, nil
}

// copyChain walks the rows of a copy, which may begin anywhere and have gaps.
type copyChain struct {
	count  int64
	last   row
	hashes strings.Builder
	// gap is the first missing entry, if there are any, and first the first bad
	// one.
	gap, first *Problem
}

func (c *copyChain) blame(p Problem) {
	if c.first == nil {
		c.first = &p
	}
}

func (c *copyChain) add(r row) {
	c.count++
	c.hashes.WriteString(r.hash)
	switch {
	case r.hash != r.digest():
		c.blame(Problem{Seq: r.seq, ID: r.id, What: fmt.Sprintf("Entry %d was changed: it does not match its hash.", r.seq)})
	case c.count > 1 && r.seq <= c.last.seq:
		c.blame(Problem{Seq: r.seq, ID: r.id, What: fmt.Sprintf("Entry %d was moved: it follows entry %d.", r.seq, c.last.seq)})
	case r.seq == c.last.seq+1 && r.prev != c.last.hash:
		c.blame(Problem{Seq: r.seq, ID: r.id, What: fmt.Sprintf("Entry %d does not chain to entry %d: one of them was rewritten.", r.seq, c.last.seq)})
	case c.gap == nil && r.seq > c.last.seq+1:
		c.gap = &Problem{Seq: c.last.seq + 1, What: fmt.Sprintf("Entry %d is missing: entry %d follows entry %d.", c.last.seq+1, r.seq, c.last.seq)}
	}
	c.last = r
}

// finish holds the rows against the last line of the export.
func (c *copyChain) finish(end *Trailer) *Problem {
	all := end != nil && end.Incident == ""
	switch {
	case all && c.gap != nil && (end.Since.IsZero() || c.gap.Seq > 1):
		return c.gap
	case end == nil:
		return &Problem{Seq: c.last.seq + 1, What: fmt.Sprintf("The export was cut off after entry %d: its last line is missing.", c.last.seq)}
	case end.Entries != c.count:
		return &Problem{Seq: c.last.seq, What: fmt.Sprintf("Entries were removed: the export had %d entries, and there are %d.", end.Entries, c.count)}
	case end.Digest != incident.DigestOf([]byte(c.hashes.String())):
		return &Problem{Seq: c.last.seq, What: "The entries are not those that the last line of the export stands for."}
	case all && end.Since.IsZero() && end.Head != Head{Seq: c.last.seq, Hash: c.last.hash}:
		return &Problem{Seq: c.last.seq + 1, What: fmt.Sprintf("Entry %d is missing: the ledger ended with entry %d.", c.last.seq+1, end.Head.Seq)}
	default:
		return nil
	}
}

// VerifyAgainst compares the ledger with a copy of it that a sink has, and names
// the first entry that the copy has and the ledger has not, or not so: what was cut
// off together with its head file is found by this alone. The copy is verified
// first. It may begin anywhere and lag behind, which is noted.
func (l *Ledger) VerifyAgainst(ctx context.Context, from io.Reader) (Report, error) {
	in, err := openLines(from)
	if errors.Is(err, errNotALine) {
		return Report{First: &Problem{What: "The file is no copy of a ledger."}}, nil
	}
	if err != nil {
		return Report{}, fmt.Errorf("read copy: %w", err)
	}
	var report Report
	c := copyChain{}
	torn, again := false, false
	for report.First == nil {
		r, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, errNotALine) {
			torn = true
			continue
		}
		if err != nil {
			return Report{}, fmt.Errorf("read copy: %w", err)
		}
		if r.End != nil {
			continue
		}
		if c.count == 0 && r.Seq > 1 {
			report.Notes = append(report.Notes, fmt.Sprintf("The copy begins with entry %d.", r.Seq))
			c.last = row{seq: r.Seq - 1, hash: r.Prev}
		}
		if got := r.row(); c.count > 0 && got.seq <= c.last.seq && got.hash == got.digest() {
			// A delivery whose answer was lost comes again.
			again = true
			if report.First, err = l.compare(ctx, got); err != nil {
				return Report{}, err
			}
			continue
		}
		c.add(r.row())
		if c.first == nil {
			c.first = c.gap
		}
		if c.first != nil {
			c.first.What = "In the copy: " + c.first.What
			report.First = c.first
			break
		}
		if report.First, err = l.compare(ctx, r.row()); err != nil {
			return Report{}, err
		}
	}
	report.Entries, report.Head = c.count, Head{Seq: c.last.seq, Hash: c.last.hash}
	if report.First != nil {
		return report, nil
	}
	if torn {
		report.Notes = append(report.Notes, "A line of the copy is unreadable, and no entry is missing: a write was cut short and repeated.")
	}
	if again {
		report.Notes = append(report.Notes, "The copy has entries more than once, and every time the same.")
	}
	end, err := l.End(ctx)
	if err != nil {
		return Report{}, err
	}
	if behind := end.Seq - c.last.seq; behind > 0 {
		report.Notes = append(report.Notes, fmt.Sprintf("The copy ends with entry %d, and the ledger has %d more.", c.last.seq, behind))
	}
	return report, nil
}

// VerifyHead checks that the ledger has the entry that a head of earlier names.
func (l *Ledger) VerifyHead(ctx context.Context, h Head) (*Problem, error) {
	if h.Seq == 0 && h.Hash == "" {
		return nil, nil //nolint:nilnil // Nothing was promised, and so nothing is missing.
	}
	hash, found, err := l.hashOf(ctx, h.Seq)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return &Problem{Seq: h.Seq, What: fmt.Sprintf("Entry %d is missing: the head that was kept names it.", h.Seq)}, nil
	case hash != h.Hash:
		return &Problem{Seq: h.Seq, What: fmt.Sprintf("Entry %d is not the one that the head that was kept names: it, or one before it together with all that follow, was rewritten.", h.Seq)}, nil
	default:
		return nil, nil //nolint:nilnil // There is no problem.
	}
}

// ParseHead reads "SEQ:HASH", such as 12:sha256:… .
func ParseHead(s string) (Head, error) {
	seq, hash, ok := strings.Cut(s, ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	if !ok || err != nil || n < 1 || !incident.ValidDigest(hash) {
		return Head{}, fmt.Errorf("parse head: %q is none; give the number and the hash that verify printed, as 12:sha256:…", spell(s))
	}
	return Head{Seq: n, Hash: hash}, nil
}

// compare says what is wrong with the ledger if it has not the row of a copy.
func (l *Ledger) compare(ctx context.Context, r row) (*Problem, error) {
	hash, found, err := l.hashOf(ctx, r.seq)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return &Problem{Seq: r.seq, ID: r.id, What: fmt.Sprintf("Entry %d is missing: the copy has it.", r.seq)}, nil
	case hash != r.hash:
		return &Problem{Seq: r.seq, ID: r.id, What: fmt.Sprintf("Entry %d was rewritten: the copy has another one.", r.seq)}, nil
	default:
		return nil, nil //nolint:nilnil // There is no problem.
	}
}

// hashOf is the hash that stands under a number.
func (l *Ledger) hashOf(ctx context.Context, seq int64) (hash string, found bool, err error) {
	err = l.read.QueryRowContext(ctx, "SELECT hash FROM entries WHERE seq = ?", seq).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read entry %d: %w", seq, err)
	}
	return hash, true, nil
}

// End is the newest entry as it stands.
func (l *Ledger) End(ctx context.Context) (Head, error) {
	var h Head
	err := l.read.QueryRowContext(ctx, "SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1").Scan(&h.Seq, &h.Hash)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Head{}, fmt.Errorf("read the end of ledger %q: %w", l.path, err)
	}
	return h, nil
}
