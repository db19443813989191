package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// chain walks the rows of a ledger in order and keeps the first that is bad.
type chain struct {
	count int64
	last  row
	// anchor is the row that the head file names.
	anchor row
	// broken says that last does not chain to the row before it, beforeLast.
	// Which of the two is bad is told by the row after them.
	broken     bool
	beforeLast row
	first      *Problem
}

// add takes in the next row.
func (c *chain) add(r row) {
	switch {
	case c.first != nil:
	case c.broken:
		c.blame(r.prev == c.last.hash)
	case r.seq != c.last.seq+1:
		c.first = &Problem{Seq: c.last.seq + 1, What: fmt.Sprintf("Entry %d is missing: entry %d follows entry %d.", c.last.seq+1, r.seq, c.last.seq)}
	case r.hash != r.digest():
		c.first = c.misfit(r)
	case r.prev != c.last.hash:
		c.broken = true
	}
	c.count++
	c.beforeLast, c.last = c.last, r
}

// blame names the bad one of two rows that do not chain: the earlier one when
// the later one is vouched for by what follows it.
func (c *chain) blame(lastIsGood bool) {
	c.broken = false
	if lastIsGood && c.beforeLast.seq > 0 {
		c.first = &Problem{Seq: c.beforeLast.seq, ID: c.beforeLast.id, What: fmt.Sprintf("Entry %d was rewritten: entry %d was chained to another one.", c.beforeLast.seq, c.last.seq)}
		return
	}
	c.first = &Problem{Seq: c.last.seq, ID: c.last.id, What: fmt.Sprintf("Entry %d was rewritten: it does not chain to entry %d.", c.last.seq, c.beforeLast.seq)}
}

// misfit says why a row does not match its own hash.
func (c *chain) misfit(r row) *Problem {
	switch r.hash {
	case r.digestAt(r.seq-1, r.prev), r.digestAt(r.seq-1, c.last.prev):
		return &Problem{Seq: c.last.seq, ID: c.last.id, What: fmt.Sprintf("Entry %d was inserted: what stands as entry %d was recorded as entry %d.", c.last.seq, r.seq, r.seq-1)}
	case r.digestAt(r.seq+1, r.prev):
		return &Problem{Seq: r.seq, What: fmt.Sprintf("Entry %d was removed: what stands in its place was recorded as entry %d.", r.seq, r.seq+1)}
	default:
		return &Problem{Seq: r.seq, ID: r.id, What: fmt.Sprintf("Entry %d was changed: it does not match its hash.", r.seq)}
	}
}

// finish compares the end of the chain with the head file as it was before and
// after the rows were read.
func (c *chain) finish(before, after Head, found bool) *Problem {
	if c.broken && c.first == nil {
		c.blame(before == Head{Seq: c.last.seq, Hash: c.last.hash})
	}
	switch {
	case c.first != nil:
		return c.first
	case !found && c.count > 0:
		return &Problem{Seq: c.last.seq, ID: c.last.id, What: fmt.Sprintf("The head file is missing, so nothing shows that the ledger ended with entry %d.", c.last.seq)}
	case before.Seq > c.last.seq:
		return &Problem{Seq: c.last.seq + 1, What: fmt.Sprintf("Entry %d is missing: the ledger ended with entry %d.", c.last.seq+1, before.Seq)}
	case before.Hash != c.anchor.hash:
		return &Problem{Seq: c.anchor.seq, ID: c.anchor.id, What: fmt.Sprintf("Entry %d is not the one that the head file names: it, or one before it together with all that follow, was rewritten.", c.anchor.seq)}
	case after.Seq < c.last.seq-MaxBatch:
		bad := after.Seq + MaxBatch + 1
		return &Problem{Seq: bad, What: fmt.Sprintf("Entry %d was not appended by this program: the head file names entry %d, and only one transaction of %d entries may follow.", bad, after.Seq, MaxBatch)}
	default:
		return nil
	}
}

// triggers keep the table append-only.
var triggers = []string{"entries_no_update", "entries_no_delete", "entries_in_order"}

// missingTriggers notes the triggers that are gone. The next Open puts them
// back.
func missingTriggers(ctx context.Context, tx *sql.Tx) ([]string, error) {
	var notes []string
	for _, name := range triggers {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name = ?", name).Scan(&n); err != nil {
			return nil, fmt.Errorf("look for trigger %q: %w", name, err)
		}
		if n == 0 {
			notes = append(notes, fmt.Sprintf("The trigger %s, which keeps the ledger append-only, is gone.", name))
		}
	}
	return notes, nil
}
