package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Facts are the machine-readable part of an OpenAPI document that a stand-in
// enforces: paths, methods, names, types, enumerations and bounds. They hold
// no prose.
type Facts struct {
	// Source names the document and its version.
	Source string `json:"source"`
	// Operations are the endpoints that the stand-in serves.
	Operations []*Operation `json:"operations"`
}

// Operation is one method on one path template.
type Operation struct {
	Method string `json:"method"`
	// Path is a template such as /incidents/{id}.
	Path   string  `json:"path"`
	Params []Param `json:"params,omitempty"`
	// Body is nil when the operation takes no JSON body.
	Body         *Schema `json:"body,omitempty"`
	BodyRequired bool    `json:"bodyRequired,omitempty"`
	// Replies are the JSON schemas of successful answers by status code, cut
	// at the depth that the generator was given.
	Replies map[string]*Schema `json:"replies,omitempty"`
}

// Name identifies the operation, for example "GET /incidents/{id}".
func (o *Operation) Name() string { return o.Method + " " + o.Path }

// Param is one query or header parameter.
type Param struct {
	Name string `json:"name"`
	// In is "query" or "header".
	In       string  `json:"in"`
	Required bool    `json:"required,omitempty"`
	Schema   *Schema `json:"schema,omitempty"`
}

// Schema is the checked part of a JSON schema. An empty Schema accepts
// anything.
type Schema struct {
	// Types are JSON type names; empty means any. "null" is among them when
	// the document says nullable.
	Types    []string           `json:"t,omitempty"`
	Enum     []any              `json:"enum,omitempty"`
	Props    map[string]*Schema `json:"props,omitempty"`
	Required []string           `json:"req,omitempty"`
	Items    *Schema            `json:"items,omitempty"`
	// Any holds alternatives of which at least one must accept the value.
	Any []*Schema `json:"any,omitempty"`
	// Open is true when the document allows properties that it does not name.
	Open    bool     `json:"open,omitempty"`
	Min     *float64 `json:"min,omitempty"`
	Max     *float64 `json:"max,omitempty"`
	MinLen  *int     `json:"minLen,omitempty"`
	MaxLen  *int     `json:"maxLen,omitempty"`
	Pattern string   `json:"pattern,omitempty"`
}

// Load decodes committed facts and refuses unknown fields and empty
// documents.
func Load(data []byte) (*Facts, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var f Facts
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("decode facts: %w", err)
	}
	if len(f.Operations) == 0 {
		return nil, fmt.Errorf("decode facts: %q has no operations", f.Source)
	}
	return &f, nil
}

// MustLoad is Load for embedded facts; it panics on an error, which is a
// mistake at build time.
func MustLoad(data []byte) *Facts {
	f, err := Load(data)
	if err != nil {
		panic(err)
	}
	return f
}

// Encode writes facts one operation a line, so that a change of the vendor's
// document reads well in a diff.
func (f *Facts) Encode() ([]byte, error) {
	source, err := json.Marshal(f.Source)
	if err != nil {
		return nil, fmt.Errorf("encode facts: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"source\":%s,\"operations\":[\n", source)
	for i, op := range f.Operations {
		line, err := json.Marshal(op)
		if err != nil {
			return nil, fmt.Errorf("encode operation %q: %w", op.Name(), err)
		}
		b.Write(line)
		if i < len(f.Operations)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]}\n")
	return b.Bytes(), nil
}

// Match finds the operation for a request and the values of its path
// variables. known is true when the path exists with another method. A
// literal segment wins over a variable; a variable named path or basehead
// takes the rest of the path.
func (f *Facts) Match(method, path string) (op *Operation, vars map[string]string, known bool) {
	best := -1
	for _, candidate := range f.Operations {
		v, literals, ok := matchPath(candidate.Path, path)
		if !ok {
			continue
		}
		known = true
		if candidate.Method == method && literals > best {
			op, vars, best = candidate, v, literals
		}
	}
	return op, vars, known
}

func matchPath(template, path string) (vars map[string]string, literals int, ok bool) {
	want := strings.Split(strings.Trim(template, "/"), "/")
	got := strings.Split(strings.Trim(path, "/"), "/")
	vars = make(map[string]string)
	for i, segment := range want {
		if i >= len(got) {
			return nil, 0, false
		}
		name, variable := strings.CutPrefix(segment, "{")
		name = strings.TrimSuffix(name, "}")
		switch {
		case variable && i == len(want)-1 && (name == "path" || name == "basehead"):
			vars[name] = strings.Join(got[i:], "/")
			return vars, literals, true
		case variable && got[i] == "":
			return nil, 0, false
		case variable:
			vars[name] = got[i]
		case segment != got[i]:
			return nil, 0, false
		default:
			literals++
		}
	}
	return vars, literals, len(got) == len(want)
}

// methods lists the HTTP methods that an OpenAPI path item may hold.
var methods = map[string]string{
	"get": http.MethodGet, "post": http.MethodPost, "put": http.MethodPut,
	"patch": http.MethodPatch, "delete": http.MethodDelete,
}
