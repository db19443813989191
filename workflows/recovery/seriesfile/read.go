package seriesfile

import (
	"bytes"
	_ "embed" // The published schema.
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schema is the published JSON Schema (draft 2020-12) of series files in JSON.
//
//go:embed series.schema.json
var Schema []byte

// MaxRows is the most samples that a file may have: three years of minutes are
// more than anybody judges by, and the work grows with them.
const MaxRows = 1_000_000

// Row is one line of a series. What is not known is NaN.
type Row struct {
	At time.Time
	// Line is where it stands in its file, from 1.
	Line int
	// Value is the signal. Total and Bad are events in the step that ends at At,
	// Traffic is events per second.
	Value, Total, Bad, Traffic float64
}

// Columns name the columns of a CSV file, or number them from 1; what is empty is
// looked for by its usual names.
type Columns struct{ Time, Value, Total, Bad, Traffic string }

// File is a series as it was read.
type File struct {
	// Rows are in order of time, each moment once.
	Rows []Row
	// HasTotal, HasBad and HasTraffic say which columns there are.
	HasTotal, HasBad, HasTraffic bool
	// Question is what a JSON file says beside its points.
	Question Question
	// Notes say what was done to the rows to make a series of them.
	Notes []string
}

// Parse reads a series: JSON when it begins with a brace or a bracket, else CSV.
// Errors begin with name:line.
func Parse(name string, content []byte, columns Columns) (File, error) {
	content = []byte(strings.TrimPrefix(string(content), "\ufeff"))
	if start := content[:min(len(content), 1024)]; bytes.IndexByte(start, 0) >= 0 {
		return File{}, fmt.Errorf("%s:1: it is no text: unpack it, and write CSV or JSON in UTF-8", name)
	}
	var f File
	var err error
	if t := strings.TrimSpace(string(content[:min(len(content), 1024)])); strings.HasPrefix(t, "{") || strings.HasPrefix(t, "[") {
		f, err = parseJSON(name, content)
	} else {
		f, err = parseCSV(name, content, columns)
	}
	if err != nil {
		return File{}, err
	}
	if err := f.order(name); err != nil {
		return File{}, err
	}
	return f, nil
}

// tooManyTwice is the share of moments that may stand there twice before a file is
// more than one series.
const tooManyTwice = 0.05

// order sorts the rows and joins those of the same moment.
func (f *File) order(name string) error {
	if len(f.Rows) == 0 {
		return fmt.Errorf("%s:1: there is no sample", name)
	}
	if !slices.IsSortedFunc(f.Rows, func(a, b Row) int { return a.At.Compare(b.At) }) {
		slices.SortStableFunc(f.Rows, func(a, b Row) int { return a.At.Compare(b.At) })
		f.Notes = append(f.Notes, "The samples were not in order of time and were sorted.")
	}
	kept := f.Rows[:1]
	twice, line := 0, 0
	for _, r := range f.Rows[1:] {
		last := &kept[len(kept)-1]
		if !r.At.Equal(last.At) {
			kept = append(kept, r)
			continue
		}
		if !same(last.Value, r.Value) || !same(last.Total, r.Total) || !same(last.Bad, r.Bad) || !same(last.Traffic, r.Traffic) {
			// Nobody knows which one is true.
			last.Value, last.Total, last.Bad, last.Traffic = math.NaN(), math.NaN(), math.NaN(), math.NaN()
			if twice++; line == 0 {
				line = r.Line
			}
		}
	}
	if float64(twice) > tooManyTwice*float64(len(kept)) {
		return fmt.Errorf("%s:%d: %d moments stand there more than once with other values: give one series in a file", name, line, twice)
	}
	if twice > 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("%d moments stand there more than once with other values, first in line %d; they count as missing.", twice, line))
	}
	f.Rows = kept
	return nil
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// Numbers of at least these are milliseconds, microseconds and nanoseconds since
// 1970, and not seconds: as seconds they would lie beyond the year 5000.
const (
	firstMilli = 1e11
	firstMicro = 1e14
	firstNano  = 1e17
)

// layouts are the forms of time that are read, in order. Those without a zone are
// UTC.
var layouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999 Z0700 MST", "2006-01-02T15:04:05.999999999Z0700",
	"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02",
	"2006/01/02 15:04:05.999999999", "2006/01/02 15:04", "2006/01/02", time.RFC1123Z, time.RFC1123,
}

// ParseTime reads a moment: RFC 3339 and its likes, or a number of seconds,
// milliseconds, microseconds or nanoseconds since 1970.
func ParseTime(s string) (time.Time, error) {
	s = strings.TrimSpace(s)
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && abs(v) >= firstMilli {
			return exact(n, abs(v)), nil
		}
		switch {
		case math.IsNaN(v) || abs(v) >= firstNano*100:
			return time.Time{}, fmt.Errorf("%q is no time", s)
		case abs(v) >= firstNano:
			v /= 1e9
		case abs(v) >= firstMicro:
			v /= 1e6
		case abs(v) >= firstMilli:
			v /= 1e3
		}
		whole, part := math.Modf(v)
		return time.Unix(int64(whole), int64(math.Round(part*1e6))*1e3).UTC(), nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-01-31T12:00:00Z, or seconds or milliseconds since 1970", s)
}

func exact(n int64, size float64) time.Time {
	switch {
	case size >= firstNano:
		return time.Unix(0, n).UTC()
	case size >= firstMicro:
		return time.UnixMicro(n).UTC()
	default:
		return time.UnixMilli(n).UTC()
	}
}

func abs(v float64) float64 { return math.Abs(v) }

// parseValue reads a number; nothing, NaN and the usual words for it are NaN.
func parseValue(s string) (float64, error) {
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "", "nan", "null", "none", "na", "n/a", "-", "nil":
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return v, nil
}
