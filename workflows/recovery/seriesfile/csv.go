package seriesfile

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The usual names of columns, in lower case, best first.
var usual = struct{ time, value, total, bad, traffic []string }{
	time:    []string{"time", "timestamp", "time stamp", "time_stamp", "ts", "date", "datetime", "date_time", "at", "t", "ds", "unix", "epoch"},
	value:   []string{"value", "values", "v", "y", "signal", "metric", "ratio", "error_ratio", "latency"},
	total:   []string{"total", "totals", "count", "requests", "events", "all"},
	bad:     []string{"bad", "errors", "failures", "failed"},
	traffic: []string{"traffic", "rps", "qps"},
}

// beside are names of columns that are no signal: what people wrote about it, and
// numbers of rows.
var beside = []string{
	"", "label", "labels", "is_anomaly", "isanomaly", "anomaly", "anomalies", "anomaly_label", "anomaly_score", "changepoint", "change_point", "is_changepoint",
	"class", "target", "truth", "ground_truth", "incident", "is_incident", "id", "index", "row", "unnamed: 0", "name", "series", "series_id", "kpi id", "kpi_id", "host", "instance", "comment", "note",
}

// places are the columns by number from 0; -1 for those that are not there.
type places struct{ time, value, total, bad, traffic int }

// parseCSV reads rows of text, parted by commas, semicolons or tabs. Lines that
// begin with # are comments. Without a header the first column is the time and the
// second the value.
func parseCSV(name string, content []byte, columns Columns) (File, error) {
	r := csv.NewReader(bytes.NewReader(content))
	r.Comma = separator(content)
	r.Comment = '#'
	r.FieldsPerRecord = -1
	r.TrimLeadingSpace = true
	r.ReuseRecord = true
	var f File
	var at places
	for first := true; ; {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil {
			if bad, ok := errors.AsType[*csv.ParseError](err); ok {
				return File{}, fmt.Errorf("%s:%d: %w", name, bad.Line, bad.Err)
			}
			return File{}, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		if first {
			first = false
			header := isHeader(record)
			if at, err = columns.find(record, header); err != nil {
				return File{}, fmt.Errorf("%s:%d: %w", name, line, err)
			}
			f.HasTotal, f.HasBad, f.HasTraffic = at.total >= 0, at.bad >= 0, at.traffic >= 0
			if header {
				continue
			}
		}
		if len(f.Rows) == MaxRows {
			return File{}, fmt.Errorf("%s:%d: there are more than %d samples: cut the file", name, line, MaxRows)
		}
		row, err := at.row(record)
		if err != nil {
			return File{}, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		row.Line = line
		f.Rows = append(f.Rows, row)
	}
}

// separator is the one that stands most often in the first line that is no comment.
func separator(content []byte) rune {
	for line := range strings.Lines(string(content[:min(len(content), 64<<10)])) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		best := ','
		for _, c := range ";\t" {
			if strings.Count(line, string(c)) > strings.Count(line, string(best)) {
				best = c
			}
		}
		return best
	}
	return ','
}

// isHeader reports whether a first record names columns: no field of it is a time.
func isHeader(record []string) bool {
	return !slices.ContainsFunc(record, func(s string) bool { _, err := ParseTime(s); return err == nil })
}

func (c Columns) find(record []string, header bool) (places, error) {
	names := make([]string, len(record))
	for i, s := range record {
		names[i] = strings.ToLower(strings.TrimSpace(s))
	}
	at := places{time: -1, value: -1, total: -1, bad: -1, traffic: -1}
	for _, w := range []struct {
		what, asked string
		usual       []string
		place       *int
	}{
		{"time", c.Time, usual.time, &at.time},
		{"value", c.Value, usual.value, &at.value},
		{"total", c.Total, usual.total, &at.total},
		{"bad", c.Bad, usual.bad, &at.bad},
		{"traffic", c.Traffic, usual.traffic, &at.traffic},
	} {
		switch n, err := strconv.Atoi(w.asked); {
		case w.asked != "" && header && slices.Contains(names, strings.ToLower(w.asked)):
			*w.place = slices.Index(names, strings.ToLower(w.asked))
		case w.asked != "" && err == nil && n >= 1 && n <= len(record):
			*w.place = n - 1
		case w.asked != "":
			return at, fmt.Errorf("there is no column %q for %s", w.asked, w.what)
		case header:
			for _, u := range w.usual {
				if i := slices.Index(names, u); i >= 0 {
					*w.place = i
					break
				}
			}
		}
	}
	// What nobody named stands where it usually stands.
	if at.time < 0 {
		at.time = 0
	}
	if at.value >= 0 || at.bad >= 0 && at.total >= 0 {
		return at, nil
	}
	// The only column that means nothing else, the first one without a header, or else
	// the only one there is.
	var left []int
	for i, name := range names {
		if i != at.time && i != at.total && i != at.bad && i != at.traffic && (!header || !slices.Contains(beside, name)) {
			left = append(left, i)
		}
	}
	switch {
	case len(left) > 1 && header:
		return at, fmt.Errorf("there are %d columns that may be the value, such as %q and %q: name it with --value-column", len(left), record[left[0]], record[left[1]])
	case len(left) > 0:
		at.value = left[0]
		return at, nil
	}
	for _, other := range []*int{&at.bad, &at.total, &at.traffic} {
		if *other >= 0 {
			at.value, *other = *other, -1
			return at, nil
		}
	}
	return at, errors.New("there is no column of values: write time,value")
}

func (p places) row(record []string) (Row, error) {
	field := func(i int) string {
		if i < 0 || i >= len(record) {
			return ""
		}
		return record[i]
	}
	var row Row
	var err error
	if p.value >= len(record) {
		return Row{}, fmt.Errorf("there is no value in it: it has %d columns, and the value stands in column %d", len(record), p.value+1)
	}
	if row.At, err = ParseTime(field(p.time)); err != nil {
		return Row{}, err
	}
	for _, c := range []struct {
		place int
		into  *float64
	}{{p.value, &row.Value}, {p.total, &row.Total}, {p.bad, &row.Bad}, {p.traffic, &row.Traffic}} {
		*c.into = math.NaN()
		if c.place >= 0 {
			if *c.into, err = parseValue(field(c.place)); err != nil {
				return Row{}, err
			}
		}
	}
	return row, nil
}
