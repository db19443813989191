package strict

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxSize is the largest document read, in bytes. Hand-written YAML stays far
// below it; the bound keeps a wrong file from being parsed at all.
const MaxSize = 1 << 20

// File is a document and the name that errors call it by.
type File struct {
	Name    string
	Content []byte
}

// Position is a place in a file, counted from 1.
type Position struct {
	File   string
	Line   int
	Column int
}

// String is "file:line:column".
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Error is one thing wrong with a document.
type Error struct {
	Position
	// Message is one clause for the author of the file.
	Message string
}

// Error is "file:line:column: message".
func (e *Error) Error() string { return e.String() + ": " + e.Message }

// Document is one YAML document of a file.
type Document struct {
	file string
	body ast.Node
	// Positions holds where each value stands, by its path such as
	// "options[0].actions[1].kind". It is filled by Decode.
	positions map[string]Position
}

// Split parses a file into its documents. Empty documents are left out; a file
// with no document at all is an error.
func Split(f File) ([]*Document, error) {
	if len(f.Content) > MaxSize {
		return nil, &Error{Position{f.Name, 1, 1}, fmt.Sprintf("the file has %d bytes, more than %d", len(f.Content), MaxSize)}
	}
	tree, err := parse(f)
	if err != nil {
		return nil, err
	}
	var docs []*Document
	for _, d := range tree.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType {
			continue
		}
		docs = append(docs, &Document{file: f.Name, body: d.Body, positions: map[string]Position{}})
	}
	if len(docs) == 0 {
		return nil, &Error{Position{f.Name, 1, 1}, "the file holds no document"}
	}
	return docs, nil
}

// parse calls the YAML parser and turns its errors, and any panic of it on
// malformed input, into one of ours.
func parse(f File) (tree *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			tree, err = nil, &Error{Position{f.Name, 1, 1}, "the file is not YAML"}
		}
	}()
	tree, err = parser.ParseBytes(f.Content, 0)
	if err == nil {
		return tree, nil
	}
	pos := Position{f.Name, 1, 1}
	message := "the file is not YAML"
	var located interface {
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &located) {
		message = located.GetMessage()
		if t := located.GetToken(); t != nil && t.Position != nil {
			pos.Line, pos.Column = t.Position.Line, t.Position.Column
		}
	}
	return nil, &Error{pos, message}
}

// Decode reads a file that holds exactly one document into the struct that
// into points to.
func Decode(f File, into any) (*Document, error) {
	docs, err := Split(f)
	if err != nil {
		return nil, err
	}
	if len(docs) > 1 {
		return nil, &Error{docs[1].start(), "the file holds more than one document, want one"}
	}
	return docs[0], docs[0].Decode(into, KnownKeys)
}

// Keys says what becomes of keys that the struct does not have.
type Keys int

// How keys are treated. The zero value refuses unknown ones.
const (
	KnownKeys Keys = iota
	// AnyKeys ignores unknown keys, for documents of other tools.
	AnyKeys
)

// Decode reads the document into the struct that into points to. Fields are
// matched by their `yaml` tag; ",required" in the tag makes a missing or null
// key an error. The error joins one *Error for each thing that is wrong.
func (d *Document) Decode(into any, keys Keys) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("decode %s: want a pointer to a struct, got %T", d.file, into)
	}
	r := reader{doc: d, keys: keys}
	r.read(d.body, v.Elem(), "")
	return errors.Join(r.errs...)
}

// At is where the value at a path stands, or the nearest value around it that
// exists, or the start of the document.
func (d *Document) At(path string) Position {
	for path != "" {
		if p, ok := d.positions[path]; ok {
			return p
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			break
		}
		path = path[:cut]
	}
	return d.start()
}

// Has reports whether the document spells the value at a path.
func (d *Document) Has(path string) bool {
	_, ok := d.positions[path]
	return ok
}

// Errorf is an *Error at the value at a path.
func (d *Document) Errorf(path, format string, args ...any) error {
	return &Error{d.At(path), fmt.Sprintf(format, args...)}
}

func (d *Document) start() Position {
	n := d.body
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	return d.position(n)
}

func (d *Document) position(n ast.Node) Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		return Position{d.file, t.Position.Line, t.Position.Column}
	}
	return Position{d.file, 1, 1}
}

type reader struct {
	doc  *Document
	keys Keys
	errs []error
}

func (r *reader) fail(n ast.Node, format string, args ...any) {
	r.errs = append(r.errs, &Error{r.doc.position(n), fmt.Sprintf(format, args...)})
}

// DurationPattern is how a duration is spelled: Go's form without a sign, and
// with a unit even for zero.
const DurationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`

var (
	durationPattern = regexp.MustCompile(DurationPattern)

	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// read reads node n into v and notes its position under path.
func (r *reader) read(n ast.Node, v reflect.Value, path string) {
	if path != "" {
		r.doc.positions[path] = r.doc.position(n)
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		r.fail(n, "%s: anchors, aliases, merge keys and tags are not allowed", name(path))
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case v.Type() == rawType:
		v.Set(reflect.ValueOf(Raw{file: r.doc.file, node: n}))
		return
	case v.Type() == durationType:
		r.readDuration(n, v, path)
		return
	case v.CanAddr() && v.Addr().Type().Implements(textType):
		if s, ok := r.text(n, path); ok {
			if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s)); err != nil {
				r.fail(n, "%s: %v", name(path), err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		r.readStruct(n, v, path)
	case reflect.Slice:
		r.readSlice(n, v, path)
	case reflect.Map:
		r.readMap(n, v, path)
	case reflect.String:
		if s, ok := r.text(n, path); ok {
			v.SetString(s)
		}
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return
		}
		r.fail(n, "%s: want true or false, got %s", name(path), kindOf(n))
	case reflect.Int, reflect.Int64:
		r.readInt(n, v, path)
	case reflect.Float64:
		r.readFloat(n, v, path)
	default:
		r.fail(n, "%s: the reader has no rule for %s", name(path), v.Type())
	}
}

func (r *reader) text(n ast.Node, path string) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	default:
		r.fail(n, "%s: want text, got %s; put it in quotes if text is meant", name(path), kindOf(n))
		return "", false
	}
}

func (r *reader) readDuration(n ast.Node, v reflect.Value, path string) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		r.fail(n, "%s: want a duration such as \"90s\" or \"5m\", got %s", name(path), kindOf(n))
		return
	}
	d, err := time.ParseDuration(s.Value)
	if err != nil || !durationPattern.MatchString(s.Value) {
		r.fail(n, "%s: %q is not a duration such as \"90s\" or \"5m\"", name(path), s.Value)
		return
	}
	v.SetInt(int64(d))
}

func (r *reader) readInt(n ast.Node, v reflect.Value, path string) {
	if i, ok := n.(*ast.IntegerNode); ok {
		switch x := i.Value.(type) {
		case int64:
			v.SetInt(x)
			return
		case uint64:
			if x <= math.MaxInt64 {
				v.SetInt(int64(x))
				return
			}
		}
	}
	r.fail(n, "%s: want a whole number, got %s", name(path), kindOf(n))
}

func (r *reader) readFloat(n ast.Node, v reflect.Value, path string) {
	switch x := n.(type) {
	case *ast.FloatNode:
		v.SetFloat(x.Value)
	case *ast.IntegerNode:
		switch i := x.Value.(type) {
		case int64:
			v.SetFloat(float64(i))
		case uint64:
			v.SetFloat(float64(i))
		}
	default:
		r.fail(n, "%s: want a number, got %s", name(path), kindOf(n))
	}
}

func (r *reader) readSlice(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(n, "%s: want a list, got %s", name(path), kindOf(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		r.read(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
}

func (r *reader) readMap(n ast.Node, v reflect.Value, path string) {
	pairs, ok := r.pairs(n, path)
	if !ok {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(pairs))
	for _, p := range pairs {
		value := reflect.New(v.Type().Elem()).Elem()
		r.read(p.node, value, join(path, p.key))
		out.SetMapIndex(reflect.ValueOf(p.key).Convert(v.Type().Key()), value)
	}
	v.Set(out)
}

func (r *reader) readStruct(n ast.Node, v reflect.Value, path string) {
	pairs, ok := r.pairs(n, path)
	if !ok {
		return
	}
	fields := Fields(v.Type())
	seen := map[string]bool{}
	for _, p := range pairs {
		f, known := fields[p.key]
		if !known {
			if r.keys == KnownKeys {
				r.fail(p.at, "%s: unknown key %q, known are %s", name(path), p.key, strings.Join(names(fields), ", "))
			}
			continue
		}
		if p.node.Type() == ast.NullType {
			if r.keys == KnownKeys {
				r.fail(p.at, "%s: it is empty", name(join(path, p.key)))
			}
			continue
		}
		seen[p.key] = true
		r.read(p.node, v.FieldByIndex(f.Index), join(path, p.key))
	}
	for _, key := range names(fields) {
		if fields[key].Required && !seen[key] {
			r.fail(n, "%s: the key %q is missing", name(path), key)
		}
	}
}

type pair struct {
	key      string
	at, node ast.Node
}

func (r *reader) pairs(n ast.Node, path string) ([]pair, bool) {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.fail(n, "%s: want keys and values, got %s", name(path), kindOf(n))
		return nil, false
	}
	seen := map[string]bool{}
	pairs := make([]pair, 0, len(values))
	for _, mv := range values {
		key, ok := mv.Key.(*ast.StringNode)
		if !ok {
			r.fail(mv.Key, "%s: a key must be plain text", name(path))
			continue
		}
		if seen[key.Value] {
			r.fail(mv.Key, "%s: the key %q stands there twice", name(path), key.Value)
			continue
		}
		seen[key.Value] = true
		pairs = append(pairs, pair{key: key.Value, at: mv.Key, node: mv.Value})
	}
	return pairs, true
}

// Field is one key that a struct knows.
type Field struct {
	Index    []int
	Type     reflect.Type
	Required bool
}

// Fields are the keys that a struct type knows, by name.
func Fields(t reflect.Type) map[string]Field {
	out := map[string]Field{}
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("yaml")
		if !ok || !f.IsExported() {
			continue
		}
		key, options, _ := strings.Cut(tag, ",")
		out[key] = Field{Index: f.Index, Type: f.Type, Required: options == "required"}
	}
	return out
}

func names(fields map[string]Field) []string {
	out := make([]string, 0, len(fields))
	for k := range fields {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func name(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "nothing"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys and values"
	default:
		return "something else"
	}
}
