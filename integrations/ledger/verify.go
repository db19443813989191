package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Report is what Verify found.
type Report struct {
	// Entries is how many entries were read.
	Entries int64 `json:"entries"`
	// Head is the end of the ledger as it stands. Kept elsewhere, it proves
	// later that nothing before it was changed.
	Head Head `json:"head"`
	// First is the first bad entry; nil when the ledger is whole.
	First *Problem `json:"first,omitempty"`
	// Notes are things that are no tampering, but that people should know.
	Notes []string `json:"notes,omitempty"`
}

// OK reports whether the ledger is whole.
func (r Report) OK() bool { return r.First == nil }

// Problem names one bad entry.
type Problem struct {
	// Seq is the entry's number, and ID its ID where there is one.
	Seq int64  `json:"seq"`
	ID  string `json:"id,omitempty"`
	// What is one sentence for people.
	What string `json:"what"`
}

// Verify reads the whole ledger and reports the first entry that was changed,
// removed, inserted or moved. It may run while others append. Its error means
// that the ledger could not be read, which is no verdict.
func (l *Ledger) Verify(ctx context.Context) (Report, error) {
	before, foundBefore, err := readHead(l.path)
	if err != nil {
		return unreadableHead(l.path, err)
	}
	tx, err := l.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return Report{}, fmt.Errorf("verify ledger %q: %w", l.path, err)
	}
	defer rollback(tx)
	var c chain
	rows, err := tx.QueryContext(ctx, "SELECT "+columns+" FROM entries ORDER BY seq")
	if err != nil {
		return Report{}, fmt.Errorf("verify ledger %q: %w", l.path, err)
	}
	defer closeRows(rows)
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return Report{}, fmt.Errorf("verify ledger %q: %w", l.path, err)
		}
		if before.Seq == r.seq {
			c.anchor = r
		}
		c.add(r)
	}
	if err := rows.Err(); err != nil {
		return Report{}, fmt.Errorf("verify ledger %q: %w", l.path, err)
	}
	report := Report{Entries: c.count, Head: Head{Seq: c.last.seq, Hash: c.last.hash}}
	report.Notes, err = missingTriggers(ctx, tx)
	if err != nil {
		return Report{}, fmt.Errorf("verify ledger %q: %w", l.path, err)
	}
	// The head file is read again after the snapshot: others append meanwhile,
	// so the first reading may be behind by any number, the second one only by
	// the entry whose append was cut short.
	after, foundAfter, err := readHead(l.path)
	if err != nil {
		return unreadableHead(l.path, err)
	}
	report.First = c.finish(before, after, foundBefore || foundAfter)
	return report, nil
}

// unreadableHead tells a head file with nonsense in it from one that could not
// be read.
func unreadableHead(path string, err error) (Report, error) {
	if errors.Is(err, ErrTampered) {
		return Report{First: &Problem{What: "The head file holds no head."}}, nil
	}
	return Report{}, fmt.Errorf("verify ledger %q: %w", path, err)
}
