package rest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Selection says what Derive takes from a document.
type Selection struct {
	// Source names the document in the facts.
	Source string
	// Prefix is put before every path, for servers mounted below a root.
	Prefix string
	// Operations are names such as "GET /incidents/{id}", without the prefix.
	Operations []string
	// ReplyDepth is how many levels of nested objects are kept of successful
	// replies; deeper values may be anything of their type.
	ReplyDepth int
}

// bodyDepth bounds request bodies, which may be recursive in a document.
const bodyDepth = 8

// Derive reads an OpenAPI 3.0 document and returns the facts of the selected
// operations. An operation that the document does not have is an error.
func Derive(document []byte, sel Selection) (*Facts, error) {
	var root map[string]any
	if err := json.Unmarshal(document, &root); err != nil {
		return nil, fmt.Errorf("decode document %q: %w", sel.Source, err)
	}
	d := deriver{root: root}
	facts := &Facts{Source: sel.Source}
	for _, name := range sel.Operations {
		method, path, _ := strings.Cut(name, " ")
		op, err := d.operation(method, path, sel.ReplyDepth)
		if err != nil {
			return nil, fmt.Errorf("derive operation %q: %w", name, err)
		}
		op.Path = sel.Prefix + op.Path
		facts.Operations = append(facts.Operations, op)
	}
	return facts, nil
}

type deriver struct{ root map[string]any }

func (d deriver) operation(method, path string, replyDepth int) (*Operation, error) {
	item, ok := d.object(at(d.root, "paths", path))
	if !ok {
		return nil, fmt.Errorf("path is not in the document")
	}
	raw, ok := d.object(item[strings.ToLower(method)])
	if !ok || methods[strings.ToLower(method)] == "" {
		return nil, fmt.Errorf("method is not in the document")
	}
	op := &Operation{Method: method, Path: path}
	for _, list := range []any{item["parameters"], raw["parameters"]} {
		for _, p := range array(list) {
			param, _ := d.object(p)
			in, name := text(param["in"]), text(param["name"])
			// Content negotiation is not part of what a stand-in judges.
			if in == "path" || name == "Accept" || name == "Content-Type" {
				continue
			}
			required, _ := param["required"].(bool)
			op.Params = append(op.Params, Param{Name: name, In: in, Required: required, Schema: d.schema(param["schema"], 2)})
		}
	}
	if body, ok := d.object(raw["requestBody"]); ok {
		op.Body = d.schema(at(body, "content", "application/json", "schema"), bodyDepth)
		op.BodyRequired, _ = body["required"].(bool)
		// A body with required properties is required whatever the flag says.
		op.BodyRequired = op.BodyRequired || (op.Body != nil && len(op.Body.Required) > 0)
	}
	responses, _ := d.object(raw["responses"])
	for code, r := range responses {
		if !strings.HasPrefix(code, "2") {
			continue
		}
		reply, _ := d.object(r)
		if op.Replies == nil {
			op.Replies = make(map[string]*Schema)
		}
		op.Replies[code] = d.schema(at(reply, "content", "application/json", "schema"), replyDepth)
	}
	return op, nil
}

// schema flattens a schema: references resolved, allOf merged, oneOf and
// anyOf kept as alternatives. depth counts levels of properties.
func (d deriver) schema(raw any, depth int) *Schema {
	o, ok := d.object(raw)
	if !ok {
		return nil
	}
	s := &Schema{Pattern: expression(text(o["pattern"]))}
	if t := text(o["type"]); t != "" {
		s.Types = []string{t}
	} else if _, ok := o["properties"]; ok {
		s.Types = []string{"object"}
	}
	s.Enum = array(o["enum"])
	s.Min, s.Max = number(o["minimum"]), number(o["maximum"])
	s.MinLen, s.MaxLen = length(o["minLength"]), length(o["maxLength"])
	switch extra := o["additionalProperties"].(type) {
	case bool:
		s.Open = extra
	case map[string]any:
		s.Open = true
	}
	if depth > 0 {
		for name, p := range properties(o) {
			if s.Props == nil {
				s.Props = make(map[string]*Schema)
			}
			s.Props[name] = d.schema(p, depth-1)
		}
		for _, r := range array(o["required"]) {
			s.Required = append(s.Required, text(r))
		}
	}
	if items, ok := o["items"]; ok {
		s.Items = d.schema(items, depth)
	}
	for _, part := range array(o["allOf"]) {
		s.merge(d.schema(part, depth))
	}
	for _, key := range []string{"oneOf", "anyOf"} {
		for _, part := range array(o[key]) {
			s.Any = append(s.Any, d.schema(part, depth))
		}
	}
	if nullable, _ := o["nullable"].(bool); nullable && len(s.Types) > 0 && !slices.Contains(s.Types, "null") {
		s.Types = append(s.Types, "null")
	} else if nullable && len(s.Any) > 0 {
		s.Any = append(s.Any, &Schema{Types: []string{"null"}})
	}
	return s
}

// expression turns a mask such as YYYY-MM-DDThh:mm:ssZ, which some documents
// write where a regular expression belongs, into one.
func expression(pattern string) string {
	if !strings.HasPrefix(pattern, "YYYY-") {
		return pattern
	}
	return "^" + regexp.MustCompile("[YMDhms]").ReplaceAllString(pattern, "[0-9]") + "$"
}

// merge adds the constraints of one part of an allOf.
func (s *Schema) merge(part *Schema) {
	if part == nil {
		return
	}
	if len(s.Types) == 0 {
		s.Types = part.Types
	}
	if len(part.Enum) > 0 {
		s.Enum = part.Enum
	}
	if s.Items == nil {
		s.Items = part.Items
	}
	for name, p := range part.Props {
		if s.Props == nil {
			s.Props = make(map[string]*Schema)
		}
		if have := s.Props[name]; have != nil {
			have.merge(p)
			continue
		}
		s.Props[name] = p
	}
	for _, r := range part.Required {
		if !slices.Contains(s.Required, r) {
			s.Required = append(s.Required, r)
		}
	}
	s.Any = append(s.Any, part.Any...)
	s.Open = s.Open || part.Open
}

// object resolves references until it reaches an object.
func (d deriver) object(raw any) (map[string]any, bool) {
	for range 16 {
		o, ok := raw.(map[string]any)
		if !ok {
			return nil, false
		}
		ref, ok := o["$ref"].(string)
		if !ok {
			return o, true
		}
		raw = d.pointer(ref)
	}
	return nil, false
}

func (d deriver) pointer(ref string) any {
	var node any = d.root
	unescape := strings.NewReplacer("~1", "/", "~0", "~", "%7B", "{", "%7D", "}")
	for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		switch n := node.(type) {
		case map[string]any:
			node = n[unescape.Replace(key)]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(n) {
				return nil
			}
			node = n[i]
		default:
			return nil
		}
	}
	return node
}

func at(node any, keys ...string) any {
	for _, key := range keys {
		o, _ := node.(map[string]any)
		node = o[key]
	}
	return node
}

func properties(o map[string]any) map[string]any {
	p, _ := o["properties"].(map[string]any)
	return p
}

func array(v any) []any {
	a, _ := v.([]any)
	return a
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) *float64 {
	if f, ok := v.(float64); ok {
		return &f
	}
	return nil
}

func length(v any) *int {
	if f, ok := v.(float64); ok {
		n := int(f)
		return &n
	}
	return nil
}
