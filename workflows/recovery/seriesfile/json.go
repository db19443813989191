package seriesfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// document is a series file in JSON, or what Prometheus answers.
type document struct {
	Points    []json.RawMessage `json:"points"`
	Change    *moment           `json:"change"`
	Rollback  *moment           `json:"rollback"`
	Onset     *moment           `json:"onset"`
	Now       *moment           `json:"now"`
	Objective string            `json:"objective"`
	Unit      string            `json:"unit"`
	Worse     string            `json:"worse"`
	Tolerance *float64          `json:"tolerance"`
	Name      string            `json:"name"`
	Schema    string            `json:"$schema"`

	Status string `json:"status"`
	Data   *struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Values []json.RawMessage `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

// moment is a time as text or number.
type moment struct{ time.Time }

// UnmarshalJSON takes text or a number.
func (m *moment) UnmarshalJSON(b []byte) error {
	t, err := ParseTime(strings.Trim(string(b), `"`))
	m.Time = t
	return err
}

// number is a value as number, text or null.
type number float64

// UnmarshalJSON takes a number, text or null.
func (n *number) UnmarshalJSON(b []byte) error {
	v, err := parseValue(strings.Trim(string(b), `"`))
	*n = number(v)
	return err
}

// point is a sample with names.
type point struct {
	Time    *moment `json:"time"`
	Value   *number `json:"value"`
	Total   *number `json:"total"`
	Bad     *number `json:"bad"`
	Traffic *number `json:"traffic"`
}

func parseJSON(name string, content []byte) (File, error) {
	var doc document
	trimmed := bytes.TrimSpace(content)
	if trimmed[0] == '[' {
		if err := decode(trimmed, &doc.Points); err != nil {
			return File{}, fmt.Errorf("%s:%d: %w", name, lineOf(content, err), err)
		}
	} else if err := decode(content, &doc); err != nil {
		return File{}, fmt.Errorf("%s:%d: %w", name, lineOf(content, err), err)
	}
	f := File{Question: Question{Name: doc.Name, Unit: doc.Unit, Objective: doc.Objective, Worse: doc.Worse, Tolerance: doc.Tolerance}}
	for _, m := range []struct {
		from *moment
		into *time.Time
	}{{doc.Change, &f.Question.Change}, {doc.Rollback, &f.Question.Rollback}, {doc.Onset, &f.Question.Onset}, {doc.Now, &f.Question.Now}} {
		if m.from != nil {
			*m.into = m.from.Time
		}
	}
	points := doc.Points
	if doc.Data != nil {
		switch {
		case doc.Status != "success" || doc.Data.ResultType != "matrix":
			return File{}, fmt.Errorf("%s:1: Prometheus did not answer with a matrix: ask query_range", name)
		case len(doc.Data.Result) != 1:
			return File{}, fmt.Errorf("%s:1: Prometheus answered with %d series: exactly 1 is needed", name, len(doc.Data.Result))
		}
		points = doc.Data.Result[0].Values
	}
	if len(points) > MaxRows {
		return File{}, fmt.Errorf("%s:1: there are more than %d samples: cut the file", name, MaxRows)
	}
	at := 0
	for i, raw := range points {
		// The text of a point stands in the file as it is, after the one before.
		if next := bytes.Index(content[at:], raw); next >= 0 {
			at += next
		}
		line := 1 + bytes.Count(content[:at], []byte("\n"))
		row, err := f.point(raw)
		if err != nil {
			return File{}, fmt.Errorf("%s:%d: points[%d]: %w", name, line, i, err)
		}
		row.Line = line
		f.Rows = append(f.Rows, row)
		at += len(raw)
	}
	return f, nil
}

// decode is strict about names, and about what follows.
func decode(content []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(content))
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the series")
	}
	return nil
}

// lineOf is where an error of JSON is.
func lineOf(content []byte, err error) int {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(0)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		offset = int64(len(content))
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	}
	return 1 + bytes.Count(content[:min(int(offset), len(content))], []byte("\n"))
}

// point reads a sample: an object, or [time, value] with the total after it.
func (f *File) point(raw []byte) (Row, error) {
	var p point
	if bytes.HasPrefix(raw, []byte("[")) {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return Row{}, err
		}
		if len(list) < 2 || len(list) > 3 {
			return Row{}, fmt.Errorf("it has %d fields: write [time, value] or [time, value, total]", len(list))
		}
		p.Time, p.Value = new(moment), new(number)
		if err := p.Time.UnmarshalJSON(list[0]); err != nil {
			return Row{}, err
		}
		if err := p.Value.UnmarshalJSON(list[1]); err != nil {
			return Row{}, err
		}
		if len(list) == 3 {
			p.Total = new(number)
			if err := p.Total.UnmarshalJSON(list[2]); err != nil {
				return Row{}, err
			}
		}
	} else {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&p); err != nil {
			return Row{}, err
		}
	}
	if p.Time == nil {
		return Row{}, errors.New("it has no time")
	}
	row := Row{At: p.Time.Time}
	for _, c := range []struct {
		from *number
		into *float64
		has  *bool
	}{{p.Value, &row.Value, nil}, {p.Total, &row.Total, &f.HasTotal}, {p.Bad, &row.Bad, &f.HasBad}, {p.Traffic, &row.Traffic, &f.HasTraffic}} {
		*c.into = math.NaN()
		if c.from != nil {
			*c.into = float64(*c.from)
			if c.has != nil {
				*c.has = true
			}
		}
	}
	return row, nil
}
