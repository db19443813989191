package rest

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fault codes of a Problem.
const (
	// Missing means that a required value is absent.
	Missing = "missing"
	// Unknown means that the document does not name the field or parameter.
	Unknown = "unknown"
	// Null means that the value is null where the document allows none.
	Null = "null"
	// WrongType means another JSON type than the document's.
	WrongType = "type"
	// NotInEnum means that the value is not in the document's list.
	NotInEnum = "enum"
	// OutOfRange means that a bound on size, length or pattern is broken.
	OutOfRange = "range"
)

// Problem is one way in which a request or response breaks the facts.
type Problem struct {
	// Field is a dotted path such as incident.service.id, or the parameter's
	// name.
	Field string
	// Code is one of the constants above.
	Code string
	// In is "body", "query" or "header".
	In string
}

// String says the problem in a few words, with no value from the request.
func (p Problem) String() string { return fmt.Sprintf("%s %s: %s", p.In, p.Field, p.Code) }

// CheckQuery judges query parameters: unknown names, missing ones, wrong
// types, values outside of an enumeration or bound.
func (o *Operation) CheckQuery(query url.Values) []Problem {
	var problems []Problem
	known := make(map[string]Param)
	for _, p := range o.Params {
		if p.In != "query" {
			continue
		}
		known[p.Name] = p
		if p.Required && !query.Has(p.Name) {
			problems = append(problems, Problem{Field: p.Name, Code: Missing, In: "query"})
		}
	}
	for name, values := range query {
		p, ok := known[name]
		if !ok {
			problems = append(problems, Problem{Field: name, Code: Unknown, In: "query"})
			continue
		}
		for _, value := range values {
			if code := p.Schema.parameter(value); code != "" {
				problems = append(problems, Problem{Field: name, Code: code, In: "query"})
			}
		}
	}
	sortProblems(problems)
	return problems
}

// CheckHeaders judges required headers.
func (o *Operation) CheckHeaders(header http.Header) []Problem {
	var problems []Problem
	for _, p := range o.Params {
		if p.In == "header" && p.Required && strings.TrimSpace(header.Get(p.Name)) == "" {
			problems = append(problems, Problem{Field: p.Name, Code: Missing, In: "header"})
		}
	}
	return problems
}

// CheckBody judges a decoded JSON body; absent is true when there was none.
func (o *Operation) CheckBody(body any, absent bool) []Problem {
	if absent {
		if o.BodyRequired {
			return []Problem{{Field: "body", Code: Missing, In: "body"}}
		}
		return nil
	}
	if o.Body == nil {
		return nil
	}
	problems := o.Body.check("", body, true)
	sortProblems(problems)
	return problems
}

// CheckReply judges a response of the stand-in itself.
func (o *Operation) CheckReply(status int, body any) []Problem {
	if status < 200 || status > 299 {
		return nil
	}
	schema, ok := o.Replies[strconv.Itoa(status)]
	if !ok {
		return []Problem{{Field: strconv.Itoa(status), Code: Unknown, In: "status"}}
	}
	problems := schema.check("", body, true)
	sortProblems(problems)
	return problems
}

// parameter judges one query value against the schema and returns a code, or
// "" when it passes.
func (s *Schema) parameter(value string) string {
	if s == nil {
		return ""
	}
	if s.Items != nil {
		return s.Items.parameter(value)
	}
	var decoded any = value
	switch {
	case slices.Contains(s.Types, "integer"), slices.Contains(s.Types, "number"):
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return WrongType
		}
		decoded = n
	case slices.Contains(s.Types, "boolean"):
		b, err := strconv.ParseBool(value)
		if err != nil {
			return WrongType
		}
		decoded = b
	}
	if problems := s.check("", decoded, true); len(problems) > 0 {
		return problems[0].Code
	}
	return ""
}

// check walks a decoded JSON value. strict refuses properties that the facts
// do not name.
func (s *Schema) check(field string, value any, strict bool) []Problem {
	if s == nil {
		return nil
	}
	fail := func(code string) []Problem { return []Problem{{Field: field, Code: code, In: "body"}} }
	if len(s.Any) > 0 && !s.anyAccepts(value, strict) {
		if value == nil {
			return fail(Null)
		}
		return fail(WrongType)
	}
	if len(s.Types) > 0 && !slices.ContainsFunc(s.Types, func(t string) bool { return isType(t, value) }) {
		if value == nil {
			return fail(Null)
		}
		return fail(WrongType)
	}
	if len(s.Enum) > 0 && value != nil && !slices.Contains(s.Enum, value) {
		return fail(NotInEnum)
	}
	switch v := value.(type) {
	case map[string]any:
		return s.checkObject(field, v, strict)
	case []any:
		var problems []Problem
		for i, item := range v {
			problems = append(problems, s.Items.check(fmt.Sprintf("%s[%d]", field, i), item, strict)...)
		}
		return problems
	case string:
		n := utf8.RuneCountInString(v)
		if (s.MinLen != nil && n < *s.MinLen) || (s.MaxLen != nil && n > *s.MaxLen) || !matches(s.Pattern, v) {
			return fail(OutOfRange)
		}
	case float64:
		if (s.Min != nil && v < *s.Min) || (s.Max != nil && v > *s.Max) {
			return fail(OutOfRange)
		}
	}
	return nil
}

func (s *Schema) checkObject(field string, v map[string]any, strict bool) []Problem {
	var problems []Problem
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			problems = append(problems, Problem{Field: join(field, name), Code: Missing, In: "body"})
		}
	}
	for name, item := range v {
		p, ok := s.Props[name]
		ok = ok || slices.Contains(s.Required, name)
		if !ok && strict && !s.Open && len(s.Props) > 0 && len(s.Any) == 0 {
			problems = append(problems, Problem{Field: join(field, name), Code: Unknown, In: "body"})
			continue
		}
		problems = append(problems, p.check(join(field, name), item, strict)...)
	}
	return problems
}

func (s *Schema) anyAccepts(value any, strict bool) bool {
	for _, alternative := range s.Any {
		// Alternatives usually name only what tells them apart, so names that
		// the parent already knows are not unknown here.
		if len(alternative.check("", value, strict && len(s.Props) == 0)) == 0 {
			return true
		}
	}
	return false
}

func isType(name string, value any) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || (name == "integer" && v == math.Trunc(v))
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	default:
		return false
	}
}

func matches(pattern, value string) bool {
	if pattern == "" {
		return true
	}
	re, err := regexp.Compile(pattern)
	// A pattern that Go cannot compile is the document's; it judges nothing.
	return err != nil || re.MatchString(value)
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

func sortProblems(problems []Problem) {
	slices.SortFunc(problems, func(a, b Problem) int {
		return strings.Compare(a.Field+a.Code, b.Field+b.Code)
	})
}
