package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// cell is a text in a row of a table.
type cell struct {
	span
	column int
	text   string
}

// secretsInTables takes the values out of a table in JSON, such as the answer of a
// database, that stand in a column whose name says that they are secrets. A table is an
// object with "columns", which are names, and "rows", which are lists: the document, or
// what is on one line of it.
func secretsInTables(b []byte) ([]byte, int) {
	if !mayBeTable(b) {
		return b, 0
	}
	b, n := secretsInTable(b)
	var changes []replaced
	for _, l := range linesOf(b) {
		line := b[l.start:l.end]
		if at := bytes.IndexByte(line, '{'); at >= 0 && mayBeTable(line) {
			if by, n := secretsInTable(line[at:]); n > 0 {
				changes = append(changes, replaced{span: span{l.start + at, l.end}, by: by, n: n})
			}
		}
	}
	b, inLines := apply(b, changes)
	return b, n + inLines
}

func mayBeTable(b []byte) bool {
	return bytes.Contains(b, []byte(`"columns"`)) && bytes.Contains(b, []byte(`"rows"`))
}

// secretsInTable is the same for the one table that b begins with.
func secretsInTable(b []byte) ([]byte, int) {
	w := &jsonWalk{b: b, d: json.NewDecoder(bytes.NewReader(b)), depth: 1}
	w.d.UseNumber()
	if t, _, err := w.token(); err != nil || t != json.Delim('{') {
		return b, 0
	}
	var columns []string
	var cells []cell
	for w.d.More() {
		name, _, err := w.token()
		if err == nil {
			switch name {
			case "columns":
				columns, err = w.names()
			case "rows":
				cells, err = w.rows()
			default:
				_, err = w.value(nil)
			}
		}
		if err != nil {
			return b, 0
		}
	}
	var changes []replaced
	for _, c := range cells {
		if c.column >= len(columns) || c.text == "" {
			continue
		}
		if what := secretBy(lower([]byte(columns[c.column])), []byte(c.text)); what != nil && !isReference([]byte(c.text)) {
			changes = append(changes, replaced{span: c.span, by: fmt.Appendf(nil, `"%s%s/%d]"`, opening, label(what), len(c.text)), n: 1})
		}
	}
	return apply(b, changes)
}

// names is a list of texts.
func (w *jsonWalk) names() ([]string, error) {
	var out []string
	err := w.list(func(t json.Token, _ span) error {
		s, ok := t.(string)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

// rows are the texts and numbers in a list of lists.
func (w *jsonWalk) rows() ([]cell, error) {
	var out []cell
	err := w.list(func(t json.Token, _ span) error {
		if t != json.Delim('[') {
			return io.ErrUnexpectedEOF
		}
		for column := 0; w.d.More(); column++ {
			t, at, err := w.token()
			if err != nil {
				return err
			}
			switch is := t.(type) {
			case string:
				out = append(out, cell{span: at, column: column, text: is})
			case json.Number:
				out = append(out, cell{span: at, column: column, text: is.String()})
			case json.Delim:
				return io.ErrUnexpectedEOF
			}
		}
		_, _, err := w.token()
		return err
	})
	return out, err
}

// list goes through the elements of a list, by their first tokens.
func (w *jsonWalk) list(each func(t json.Token, at span) error) error {
	if t, _, err := w.token(); err != nil || t != json.Delim('[') {
		return io.ErrUnexpectedEOF
	}
	for w.d.More() {
		t, at, err := w.token()
		if err == nil {
			err = each(t, at)
		}
		if err != nil {
			return err
		}
	}
	_, _, err := w.token()
	return err
}
