package ledger_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
)

const filled = 6

// tampered makes a ledger of some entries, lets edit loose on its files, and
// returns what Verify says then.
func tampered(t *testing.T, edit func(db *sql.DB, path string)) (ledger.Report, *ledger.Ledger) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := ledger.Open(t.Context(), path)
	require.NoError(t, err)
	fill(t, l, filled)
	require.NoError(t, l.Close())

	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	for _, name := range []string{"entries_no_update", "entries_no_delete", "entries_in_order"} {
		_, err := db.ExecContext(t.Context(), "DROP TRIGGER "+name)
		require.NoError(t, err)
	}
	edit(db, path)
	require.NoError(t, db.Close())

	l = open(t, path)
	report, err := l.Verify(t.Context())
	require.NoError(t, err)
	return report, l
}

func run(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query, args...)
	require.NoError(t, err)
}

func TestVerifyNamesEveryChangedField(t *testing.T) {
	t.Parallel()
	for _, column := range []string{"id", "incident", "kind", "at", "actor", "text", "payload", "prev", "hash"} {
		for seq := 1; seq <= filled; seq++ {
			t.Run(fmt.Sprintf("%s of entry %d", column, seq), func(t *testing.T) {
				t.Parallel()
				report, _ := tampered(t, func(db *sql.DB, _ string) {
					run(t, db, "UPDATE entries SET "+column+" = "+column+" || ' ' WHERE seq = ?", seq)
				})
				require.NotNil(t, report.First)
				require.Equal(t, int64(seq), report.First.Seq, report.First.What)
				require.Contains(t, report.First.What, "was changed")
			})
		}
	}
}

// rewrite gives an entry other text and a hash that fits, as somebody would
// who knows how the chain is made.
func rewrite(t *testing.T, db *sql.DB, seq int) {
	t.Helper()
	run(t, db, "UPDATE entries SET text = 'nothing happened' WHERE seq = ?", seq)
	run(t, db, "UPDATE entries SET hash = ? WHERE seq = ?", rehash(t, db, seq), seq)
}

// rehash is the right hash for what stands under a number.
func rehash(t *testing.T, db *sql.DB, seq int) string {
	t.Helper()
	var f ledger.Fields
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT prev, id, incident, kind, at, actor, text, payload FROM entries WHERE seq = ?", seq).
		Scan(&f.Prev, &f.ID, &f.Incident, &f.Kind, &f.At, &f.Actor, &f.Text, &f.Payload))
	return ledger.HashOf(int64(seq), f)
}

func TestVerifyNamesTheFirstBadEntry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(t *testing.T, db *sql.DB, path string)
		seq  int64
		what string
	}{
		{name: "first deleted", seq: 1, what: "is missing", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "DELETE FROM entries WHERE seq = 1")
		}},
		{name: "middle deleted", seq: 3, what: "is missing", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "DELETE FROM entries WHERE seq = 3")
		}},
		{name: "last deleted", seq: filled, what: "the ledger ended with entry 6", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "DELETE FROM entries WHERE seq = ?", filled)
		}},
		{name: "tail truncated", seq: 3, what: "the ledger ended with entry 6", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "DELETE FROM entries WHERE seq > 2")
		}},
		{name: "emptied", seq: 1, what: "the ledger ended with entry 6", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "DELETE FROM entries")
		}},
		{name: "middle deleted and renumbered", seq: 3, what: "was removed", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "DELETE FROM entries WHERE seq = 3")
			run(t, db, "UPDATE entries SET seq = seq - 1 WHERE seq > 3")
		}},
		{name: "swapped", seq: 2, what: "was changed", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "UPDATE entries SET seq = 100 WHERE seq = 2")
			run(t, db, "UPDATE entries SET seq = 2 WHERE seq = 5")
			run(t, db, "UPDATE entries SET seq = 5 WHERE seq = 100")
		}},
		{name: "neighbours swapped", seq: 3, what: "", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "UPDATE entries SET seq = 100 WHERE seq = 3")
			run(t, db, "UPDATE entries SET seq = 3 WHERE seq = 4")
			run(t, db, "UPDATE entries SET seq = 4 WHERE seq = 100")
		}},
		{name: "inserted with a hash that fits", seq: 3, what: "was inserted", edit: func(t *testing.T, db *sql.DB, _ string) {
			for seq := filled; seq >= 3; seq-- {
				run(t, db, "UPDATE entries SET seq = seq + 1 WHERE seq = ?", seq)
			}
			run(t, db, `INSERT INTO entries SELECT 3, 'forged', incident, kind, at, actor, text, payload, hash, '' FROM entries WHERE seq = 2`)
			run(t, db, "UPDATE entries SET hash = ? WHERE seq = 3", rehash(t, db, 3))
		}},
		{name: "rewritten with a hash that fits", seq: 3, what: "was rewritten", edit: func(t *testing.T, db *sql.DB, _ string) {
			rewrite(t, db, 3)
		}},
		{name: "first rewritten with a hash that fits", seq: 1, what: "was rewritten", edit: func(t *testing.T, db *sql.DB, _ string) {
			rewrite(t, db, 1)
		}},
		{name: "last but one rewritten with a hash that fits", seq: filled - 1, what: "was rewritten", edit: func(t *testing.T, db *sql.DB, _ string) {
			rewrite(t, db, filled-1)
		}},
		{name: "last rewritten with a hash that fits", seq: filled, what: "not the one that the head file names", edit: func(t *testing.T, db *sql.DB, _ string) {
			rewrite(t, db, filled)
		}},
		{name: "chained elsewhere with a hash that fits", seq: 4, what: "does not chain", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "UPDATE entries SET prev = (SELECT hash FROM entries WHERE seq = 1) WHERE seq = 4")
			run(t, db, "UPDATE entries SET hash = ? WHERE seq = 4", rehash(t, db, 4))
		}},
		{name: "first chained to something with a hash that fits", seq: 1, what: "does not chain", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "UPDATE entries SET prev = 'x' WHERE seq = 1")
			run(t, db, "UPDATE entries SET hash = ? WHERE seq = 1", rehash(t, db, 1))
		}},
		{name: "rewritten with all that follow", seq: filled, what: "not the one that the head file names", edit: func(t *testing.T, db *sql.DB, _ string) {
			rewrite(t, db, 2)
			for seq := 3; seq <= filled; seq++ {
				run(t, db, "UPDATE entries SET prev = (SELECT hash FROM entries WHERE seq = ?1 - 1) WHERE seq = ?1", seq)
				run(t, db, "UPDATE entries SET hash = ? WHERE seq = ?", rehash(t, db, seq), seq)
			}
		}},
		{name: "two fields, the first is named", seq: 2, what: "was changed", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "UPDATE entries SET actor = 'mallory' WHERE seq IN (2, 5)")
		}},
		{name: "head file removed", seq: filled, what: "head file is missing", edit: func(t *testing.T, _ *sql.DB, path string) {
			require.NoError(t, os.Remove(path+".head"))
		}},
		{name: "tail truncated and head file removed", seq: 2, what: "head file is missing", edit: func(t *testing.T, db *sql.DB, path string) {
			run(t, db, "DELETE FROM entries WHERE seq > 2")
			require.NoError(t, os.Remove(path+".head"))
		}},
		{name: "head file with nonsense", seq: 0, what: "holds no head", edit: func(t *testing.T, _ *sql.DB, path string) {
			require.NoError(t, os.WriteFile(path+".head", []byte("?"), 0o600))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			report, l := tampered(t, func(db *sql.DB, path string) { tt.edit(t, db, path) })
			require.False(t, report.OK())
			require.NotNil(t, report.First)
			require.Equal(t, tt.seq, report.First.Seq, report.First.What)
			require.Contains(t, report.First.What, tt.what)
			if tt.what == "the ledger ended with entry 6" || tt.seq == filled || tt.seq == 0 {
				_, err := l.Append(t.Context(), entry(99))
				require.ErrorIs(t, err, ledger.ErrTampered, "nothing is appended to a bad end")
			}
		})
	}
}

// A byte that flips on the disk, past SQLite, is found as well.
func TestVerifyNamesAFlippedByte(t *testing.T) {
	t.Parallel()
	for seq := 1; seq <= filled; seq++ {
		path := filepath.Join(t.TempDir(), "ledger.db")
		l, err := ledger.Open(t.Context(), path)
		require.NoError(t, err)
		fill(t, l, filled)
		require.NoError(t, l.Close())

		content, err := os.ReadFile(path)
		require.NoError(t, err)
		text := []byte(fmt.Sprintf("intent %d", seq))
		require.Equal(t, 1, bytes.Count(content, text))
		content[bytes.Index(content, text)] ^= 0x20
		require.NoError(t, os.WriteFile(path, content, 0o600))

		report, err := open(t, path).Verify(t.Context())
		require.NoError(t, err)
		require.NotNil(t, report.First)
		require.Equal(t, int64(seq), report.First.Seq, report.First.What)
	}
}

// A file that was cut off is no whole ledger, whatever it is.
func TestVerifyOfAFileThatWasCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := ledger.Open(t.Context(), path)
	require.NoError(t, err)
	fill(t, l, filled)
	require.NoError(t, l.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for size := len(whole) - 4096; size >= 0; size -= 4096 {
		require.NoError(t, os.WriteFile(path, whole[:size], 0o600))
		l, err := ledger.OpenReadOnly(t.Context(), path)
		if err != nil {
			continue
		}
		report, err := l.Verify(t.Context())
		require.NoError(t, l.Close())
		require.False(t, err == nil && report.OK(), "cut to %d bytes it is called whole", size)
	}
}

func writeHead(t *testing.T, db *sql.DB, path string, seq int) {
	t.Helper()
	h := ledger.Head{Seq: int64(seq)}
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT hash FROM entries WHERE seq = ?", seq).Scan(&h.Hash))
	b, err := json.Marshal(h)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path+".head", b, 0o600))
}

// A crash between the commit and the head file leaves the head one behind.
func TestHeadBehindByOneIsNoTampering(t *testing.T) {
	t.Parallel()
	report, l := tampered(t, func(db *sql.DB, path string) { writeHead(t, db, path, filled-1) })
	require.Nil(t, report.First)
	r, err := l.Append(t.Context(), entry(filled))
	require.NoError(t, err)
	require.True(t, r.Existed, "the retry of the append that was cut short finds its entry")
	r, err = l.Append(t.Context(), entry(filled+1))
	require.NoError(t, err)
	require.Equal(t, int64(filled+1), r.Seq)
	requireWhole(t, l, filled+1)
}

func TestAppendRefusesAChangedEntryOfTheSameID(t *testing.T) {
	t.Parallel()
	_, l := tampered(t, func(db *sql.DB, _ string) {
		run(t, db, "UPDATE entries SET at = '2020-01-01T00:00:00Z' WHERE seq = 2")
	})
	_, err := l.Append(t.Context(), entry(2))
	require.ErrorIs(t, err, ledger.ErrTampered)
}

func TestDatabaseItselfIsAppendOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	fill(t, l, 2)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for _, tt := range []struct{ name, query string }{
		{name: "update", query: "UPDATE entries SET text = 'x'"},
		{name: "delete", query: "DELETE FROM entries WHERE seq = 2"},
		{name: "replace", query: "REPLACE INTO entries SELECT * FROM entries WHERE seq = 1"},
		{name: "gap", query: "INSERT INTO entries SELECT 9, 'a', incident, kind, at, actor, text, payload, hash, 'h' FROM entries WHERE seq = 2"},
		{name: "broken chain", query: "INSERT INTO entries SELECT 3, 'a', incident, kind, at, actor, text, payload, 'p', 'h' FROM entries WHERE seq = 2"},
		{name: "ID twice", query: "INSERT INTO entries SELECT 3, id, incident, kind, at, actor, text, payload, hash, 'h' FROM entries WHERE seq = 2"},
	} {
		_, err := db.ExecContext(t.Context(), tt.query)
		require.ErrorContains(t, err, "the ledger is append-only", tt.name)
	}
	requireWhole(t, l, 2)
}

func TestMissingTriggersAreNoted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, path)
	fill(t, l, 2)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	run(t, db, "DROP TRIGGER entries_no_delete")
	require.NoError(t, db.Close())
	report, err := l.Verify(t.Context())
	require.NoError(t, err)
	require.True(t, report.OK())
	require.Equal(t, []string{"The trigger entries_no_delete, which keeps the ledger append-only, is gone."}, report.Notes)
	requireWhole(t, open(t, path), 2)
}
