package ledger_test

import (
	"bytes"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/workflows/incident"
)

var formats = []ledger.Format{ledger.FormatJSONL, ledger.FormatCSV}

// hostile fills a ledger with text that somebody outside chose.
func hostile(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	for i, s := range spellings {
		e := entry(i + 1)
		e.Text, e.Actor = s, "mallory "+s
		payload, err := json.Marshal(map[string]string{"title": s})
		require.NoError(t, err)
		e.Payload = payload
		_, err = l.Append(t.Context(), e)
		require.NoError(t, err)
	}
}

func export(t *testing.T, l *ledger.Ledger, o ledger.ExportOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := l.Export(t.Context(), &b, o)
	require.NoError(t, err)
	return b.Bytes()
}

func verifyExport(t *testing.T, content []byte) ledger.Report {
	t.Helper()
	report, err := ledger.VerifyExport(bytes.NewReader(content))
	require.NoError(t, err)
	return report
}

func TestExportIsWholeWhateverTheTextIs(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	hostile(t, l)
	end, err := l.End(t.Context())
	require.NoError(t, err)
	for _, format := range formats {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			content := export(t, l, ledger.ExportOptions{Format: format})
			report := verifyExport(t, content)
			require.Nil(t, report.First)
			require.Equal(t, end, report.Head)
			require.Equal(t, int64(len(spellings)), report.Entries)
			require.NotContains(t, string(content), "\x1b", "a terminal would act on it")
			require.NotContains(t, string(content), "\u202e")
		})
	}
	rows, err := csv.NewReader(bytes.NewReader(export(t, l, ledger.ExportOptions{Format: ledger.FormatCSV}))).ReadAll()
	require.NoError(t, err)
	for _, row := range rows {
		for _, cell := range row {
			require.False(t, cell != "" && strings.ContainsRune("=+-@\t\r\n|%", rune(cell[0])), "%q is a formula", cell)
		}
	}
}

func TestExportOfSomeIsWhole(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	for n := 1; n <= 8; n++ {
		e := entry(n)
		e.Incident = fmt.Sprintf("pagerduty/Q%d", n%2)
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	for _, tt := range []struct {
		name    string
		options ledger.ExportOptions
		seqs    []int64
	}{
		{name: "one incident", options: ledger.ExportOptions{Incident: "pagerduty/Q1"}, seqs: []int64{1, 3, 5, 7}},
		{name: "since", options: ledger.ExportOptions{Since: entry(6).At}, seqs: []int64{6, 7, 8}},
		{name: "one incident since", options: ledger.ExportOptions{Incident: "pagerduty/Q0", Since: entry(5).At}, seqs: []int64{6, 8}},
		{name: "nothing", options: ledger.ExportOptions{Incident: "pagerduty/Q9"}},
	} {
		for _, format := range formats {
			t.Run(tt.name+" "+string(format), func(t *testing.T) {
				t.Parallel()
				options := tt.options
				options.Format = format
				content := export(t, l, options)
				report := verifyExport(t, content)
				require.Nil(t, report.First)
				require.Equal(t, int64(len(tt.seqs)), report.Entries)
				if len(tt.seqs) > 0 {
					require.Equal(t, tt.seqs[len(tt.seqs)-1], report.Head.Seq)
				}
				for i := range strings.Count(string(content), "\n") {
					if format == ledger.FormatCSV && i == 0 {
						continue
					}
					require.NotNil(t, verifyExport(t, without(content, i)).First, "line %d was removed", i)
				}
			})
		}
	}
	_, err := l.Export(t.Context(), &bytes.Buffer{}, ledger.ExportOptions{})
	require.ErrorContains(t, err, "unknown format")
}

// without is a file without one of its lines.
func without(content []byte, n int) []byte {
	lines := bytes.SplitAfter(content, []byte("\n"))
	return bytes.Join(slices.Delete(lines, n, n+1), nil)
}

func TestVerifyExportNamesTheFirstBadEntry(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	fill(t, l, filled)
	for _, format := range formats {
		content := string(export(t, l, ledger.ExportOptions{Format: format}))
		header := 0
		if format == ledger.FormatCSV {
			header = 1
		}
		line := func(seq int) int { return header + seq - 1 }
		swapped := strings.SplitAfter(content, "\n")
		swapped[line(2)], swapped[line(5)] = swapped[line(5)], swapped[line(2)]
		for _, tt := range []struct {
			name, content string
			seq           int64
			what          string
		}{
			{name: "flipped", content: strings.Replace(content, "intent 3", "intent 8", 1), seq: 3, what: "was changed"},
			{name: "deleted", content: string(without([]byte(content), line(4))), seq: 4, what: "is missing"},
			{name: "first deleted", content: string(without([]byte(content), line(1))), seq: 1, what: "is missing"},
			{name: "reordered", content: strings.Join(swapped, ""), seq: 3, what: "was moved"},
			{name: "cut off", content: strings.Join(strings.SplitAfter(content, "\n")[:line(4)], ""), seq: 4, what: "cut off"},
			{name: "last entry deleted", content: string(without([]byte(content), line(filled))), seq: filled - 1, what: "Entries were removed"},
			{name: "repeated", content: content + content[strings.Index(content, "\n")+1:], seq: 0, what: "follows the last line"},
			{name: "nothing", content: "", seq: 1, what: "cut off"},
			{name: "something else", content: "hello, world\n", what: "no export"},
		} {
			t.Run(tt.name+" "+string(format), func(t *testing.T) {
				t.Parallel()
				report := verifyExport(t, []byte(tt.content))
				require.False(t, report.OK())
				require.Contains(t, report.First.What, tt.what)
				require.Equal(t, tt.seq, report.First.Seq, report.First.What)
			})
		}
	}
}

func FuzzVerifyExport(f *testing.F) {
	f.Add([]byte("{}\n"))
	f.Add([]byte("seq,id,incident,kind,at,actor,text,payload,prev,hash\n1,a,b,c,d,e,f,g,h,i\n"))
	f.Add([]byte(`{"end":{"entries":0,"digest":"x","head":{}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		report, err := ledger.VerifyExport(bytes.NewReader(content))
		require.NoError(t, err)
		require.False(t, report.OK() && report.Entries > 0, "nobody finds a hash by chance")
	})
}

// copied makes a ledger with a second copy of it, lets edit loose on the ledger,
// head file and all, and returns what comparing them says.
func copied(t *testing.T, edit func(db *sql.DB, path string)) ledger.Report {
	t.Helper()
	second := filepath.Join(t.TempDir(), "second.jsonl")
	_, l := tampered(t, func(db *sql.DB, path string) {
		whole, err := ledger.OpenReadOnly(t.Context(), path)
		require.NoError(t, err)
		s, err := ledger.NewFileSink(second)
		require.NoError(t, err)
		require.NoError(t, ledger.Forward(t.Context(), whole, s))
		require.NoError(t, whole.Close())
		edit(db, path)
	})
	content, err := os.ReadFile(second)
	require.NoError(t, err)
	report, err := l.VerifyAgainst(t.Context(), bytes.NewReader(content))
	require.NoError(t, err)
	return report
}

// Who can write the ledger and its head file can make a ledger that is whole. The
// second copy tells.
func TestTheSecondCopyTells(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(t *testing.T, db *sql.DB, path string)
		seq  int64
		what string
	}{
		{name: "nothing was done", edit: func(*testing.T, *sql.DB, string) {}},
		{name: "truncated with its head", seq: 4, what: "is missing: the copy has it", edit: func(t *testing.T, db *sql.DB, path string) {
			run(t, db, "DELETE FROM entries WHERE seq > 3")
			writeHead(t, db, path, 3)
		}},
		{name: "rewritten from an entry on with its head", seq: 2, what: "was rewritten", edit: func(t *testing.T, db *sql.DB, path string) {
			rewrite(t, db, 2)
			for seq := 3; seq <= filled; seq++ {
				run(t, db, "UPDATE entries SET prev = (SELECT hash FROM entries WHERE seq = ?1 - 1) WHERE seq = ?1", seq)
				run(t, db, "UPDATE entries SET hash = ? WHERE seq = ?", rehash(t, db, seq), seq)
			}
			writeHead(t, db, path, filled)
		}},
		{name: "removed altogether", seq: 1, what: "is missing", edit: func(t *testing.T, db *sql.DB, _ string) {
			run(t, db, "DELETE FROM entries")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			report := copied(t, func(db *sql.DB, path string) { tt.edit(t, db, path) })
			if tt.what == "" {
				require.Nil(t, report.First)
				require.Empty(t, report.Notes)
				return
			}
			require.NotNil(t, report.First)
			require.Equal(t, tt.seq, report.First.Seq)
			require.Contains(t, report.First.What, tt.what)
		})
	}
}

func TestVerifyAgainstOddCopies(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	fill(t, l, filled)
	content := string(export(t, l, ledger.ExportOptions{Format: ledger.FormatJSONL}))
	lines := strings.SplitAfter(content, "\n")[:filled]
	for _, tt := range []struct {
		name, copy, note, what string
	}{
		{name: "an export", copy: content},
		{name: "behind", copy: strings.Join(lines[:4], ""), note: "the ledger has 2 more"},
		{name: "begins later", copy: strings.Join(lines[2:], ""), note: "begins with entry 3"},
		{name: "a write was cut short", copy: lines[0] + lines[1][:20] + "\n" + strings.Join(lines[1:], ""), note: "cut short"},
		{name: "delivered twice", copy: strings.Join(lines[:4], "") + strings.Join(lines[2:], ""), note: "more than once"},
		{name: "an entry of the copy is missing", copy: lines[0] + strings.Join(lines[2:], ""), what: "In the copy: Entry 2 is missing"},
		{name: "an entry of the copy was changed", copy: strings.Replace(content, "intent 5", "intent 6", 1), what: "In the copy: Entry 5 was changed"},
		{name: "an entry of the copy is nonsense", copy: lines[0] + "{?\n" + strings.Join(lines[2:], ""), what: "In the copy: Entry 2 is missing"},
		{name: "something else", copy: "PK\x03\x04", what: "no copy of a ledger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			report, err := l.VerifyAgainst(t.Context(), strings.NewReader(tt.copy))
			require.NoError(t, err)
			if tt.what != "" {
				require.NotNil(t, report.First)
				require.Contains(t, report.First.What, tt.what)
				return
			}
			require.Nil(t, report.First)
			require.Contains(t, strings.Join(report.Notes, " "), tt.note)
		})
	}
}

func TestVerifyHead(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	recorded := fill(t, l, 3)
	for _, tt := range []struct {
		name, head, what string
	}{
		{name: "the end", head: "3:" + recorded[2].Hash},
		{name: "earlier", head: "1:" + recorded[0].Hash},
		{name: "later", head: "4:" + recorded[2].Hash, what: "is missing"},
		{name: "another", head: "2:" + recorded[2].Hash, what: "rewritten"},
	} {
		h, err := ledger.ParseHead(tt.head)
		require.NoError(t, err)
		problem, err := l.VerifyHead(t.Context(), h)
		require.NoError(t, err)
		if tt.what == "" {
			require.Nil(t, problem, tt.name)
			continue
		}
		require.NotNil(t, problem, tt.name)
		require.Contains(t, problem.What, tt.what)
	}
	for _, bad := range []string{"", "3", "x:" + recorded[0].Hash, "0:" + recorded[0].Hash, "1:sha256:12", "-1:" + recorded[0].Hash} {
		_, err := ledger.ParseHead(bad)
		require.Error(t, err, bad)
	}
}

func TestParseFormat(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		got, err := ledger.ParseFormat(string(f))
		require.NoError(t, err)
		require.Equal(t, f, got)
	}
	_, err := ledger.ParseFormat("")
	require.ErrorContains(t, err, "use jsonl or csv")
}

// An entry whose every byte is escaped is as long as an entry can be.
func TestTheLongestEntryFitsALine(t *testing.T) {
	t.Parallel()
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"))
	payload, err := json.Marshal(strings.Repeat("\x01", 100<<10))
	require.NoError(t, err)
	_, err = l.Append(t.Context(), incident.Entry{
		ID: "a", Incident: "pagerduty/Q1", Kind: incident.EventPage, At: time.Unix(1, 0), Text: strings.Repeat("\u009b", 30<<10),
		Payload: []byte(`{"text":` + string(payload) + `}`),
	})
	require.NoError(t, err)
	for _, format := range formats {
		require.Nil(t, verifyExport(t, export(t, l, ledger.ExportOptions{Format: format})).First)
	}
}
