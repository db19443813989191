package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/wasilibs/go-pgquery/parser"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxNested is how deeply the tokens of one statement may be nested: PostgreSQL's
// parser has no bound of its own where it does not run inside the server, and has
// none left at twice as many. Hand-written migrations stay below a tenth of it.
const maxNested = 300

// statement is one statement of a script.
type statement struct {
	// text is the statement as it was written, without the semicolon. It may end
	// with a comment.
	text string
	// kind is what PostgreSQL's grammar calls it, such as "DropStmt", and tree what
	// it consists of.
	kind string
	tree node
}

// errNotUnderstood means that a script is not SQL as PostgreSQL understands it.
var errNotUnderstood = errors.New("not understood")

// grammar is PostgreSQL's own parser, of version 17. It is one instance, which
// takes a second to start and 40 MB to keep, and takes one script at a time.
var grammar struct {
	sync.Mutex
	broken bool
}

// StartGrammar starts the parser of migrations, and returns when it is ready. The
// first plan of a migration waits for it otherwise: a second or two, and ten times as
// long where the race detector watches.
var StartGrammar = sync.OnceFunc(func() { _, _ = parse("SELECT 1") }) // What keeps it from starting is told by each plan.

// parse splits a script into statements, by the grammar of PostgreSQL with
// standard_conforming_strings on. It takes a script wholly or not at all, because
// one that is taken apart wrongly would be judged wrongly.
// Source: https://github.com/pganalyze/libpg_query
func parse(src string) (found []statement, err error) {
	if !utf8.ValidString(src) || strings.ContainsRune(src, 0) {
		return nil, fmt.Errorf("parse script: %w: it is not text in UTF-8", errNotUnderstood)
	}
	grammar.Lock()
	defer grammar.Unlock()
	if grammar.broken {
		return nil, fmt.Errorf("parse script: %w: the parser broke on an earlier script", errNotUnderstood)
	}
	defer func() {
		if recover() != nil {
			grammar.broken = true
			found, err = nil, fmt.Errorf("parse script: %w: the parser broke on it", errNotUnderstood)
		}
	}()
	tokens, err := parser.ScanToProtobuf(src)
	if err != nil {
		return nil, fault(src, err)
	}
	if err := bounded(src, tokens); err != nil {
		return nil, err
	}
	text, err := parser.ParseToJSON(src)
	if err != nil {
		return nil, fault(src, err)
	}
	return statements(src, text)
}

// statements reads the answer of the parser.
func statements(src, text string) ([]statement, error) {
	var answer struct {
		Stmts []struct {
			Stmt     node `json:"stmt"`
			Location int  `json:"stmt_location"`
			Len      int  `json:"stmt_len"`
		} `json:"stmts"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return nil, fmt.Errorf("parse script: %w: the answer of the parser is malformed", errNotUnderstood)
	}
	var found []statement
	for _, s := range answer.Stmts {
		end := s.Location + s.Len
		if s.Len == 0 {
			end = len(src)
		}
		if s.Location < 0 || end < s.Location || end > len(src) {
			return nil, fmt.Errorf("parse script: %w: the answer of the parser is malformed", errNotUnderstood)
		}
		kind, tree := s.Stmt.only()
		found = append(found, statement{text: strings.TrimSpace(src[s.Location:end]), kind: kind, tree: tree})
	}
	return found, nil
}

// fault says on which line a script is not understood. The words of the parser quote
// the script.
func fault(src string, err error) error {
	var said *parser.Error
	if !errors.As(err, &said) {
		return fmt.Errorf("parse script: %w", errNotUnderstood)
	}
	line, at := 1, 0
	for _, r := range src {
		if at++; at >= said.Cursorpos {
			break
		}
		if r == '\n' {
			line++
		}
	}
	return fmt.Errorf("parse script at line %d: %w", line, errNotUnderstood)
}

// The fields of the scanner's answer.
// Source: https://github.com/pganalyze/libpg_query/blob/17-latest/protobuf/pg_query.proto
const (
	scannedTokens = 2
	tokenStart    = 1
	tokenEnd      = 2
)

// bounded refuses a script whose statements are nested too deeply. How deeply a
// token can stand is at most the number of tokens before it: those since the last
// comma, in each pair of parentheses around it. Set operations nest across commas.
func bounded(src string, scanned []byte) error {
	malformed := fmt.Errorf("parse script: %w: the answer of the scanner is malformed", errNotUnderstood)
	levels := []level{{}}
	sum := 0
	add := func(n int) { levels[len(levels)-1].tokens += n; sum += n }
	for len(scanned) > 0 {
		field, wire, n := protowire.ConsumeTag(scanned)
		if n < 0 {
			return malformed
		}
		scanned = scanned[n:]
		if field != scannedTokens || wire != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, wire, scanned); n < 0 {
				return malformed
			}
			scanned = scanned[n:]
			continue
		}
		token, n := protowire.ConsumeBytes(scanned)
		if n < 0 {
			return malformed
		}
		scanned = scanned[n:]
		start, end, ok := span(token)
		if !ok || start < 0 || end < start || end > len(src) {
			return malformed
		}
		last := &levels[len(levels)-1]
		switch text := src[start:end]; {
		case strings.HasPrefix(text, "--"), strings.HasPrefix(text, "/*"):
		case text == ",":
			sum -= last.tokens - last.lasting
			last.tokens = last.lasting
		case text == ";":
			sum -= last.tokens
			*last = level{}
		case text == "(" || text == "[":
			add(1)
			levels = append(levels, level{})
		case text == ")" || text == "]":
			if len(levels) > 1 {
				sum -= last.tokens
				levels = levels[:len(levels)-1]
			}
		case strings.EqualFold(text, "UNION"), strings.EqualFold(text, "INTERSECT"), strings.EqualFold(text, "EXCEPT"):
			last.lasting++
			add(1)
		default:
			add(1)
		}
		if sum > maxNested {
			return fmt.Errorf("parse script at line %d: %w: it is nested too deeply", 1+strings.Count(src[:start], "\n"), errNotUnderstood)
		}
	}
	return nil
}

// level is one pair of parentheses.
type level struct {
	// tokens are those since the last comma, and lasting those that a comma does not
	// end.
	tokens, lasting int
}

// span is where a token stands in the script.
func span(token []byte) (start, end int, ok bool) {
	for len(token) > 0 {
		field, wire, n := protowire.ConsumeTag(token)
		if n < 0 {
			return 0, 0, false
		}
		token = token[n:]
		if wire != protowire.VarintType {
			return 0, 0, false
		}
		v, n := protowire.ConsumeVarint(token)
		if n < 0 || v > maxScript {
			return 0, 0, false
		}
		token = token[n:]
		switch field {
		case tokenStart:
			start = int(v)
		case tokenEnd:
			end = int(v)
		}
	}
	return start, end, true
}

// node is a part of a statement: what JSON holds of PostgreSQL's parse tree.
type node map[string]any

// only is the kind and the content of a node that has a kind.
func (n node) only() (string, node) {
	for kind, content := range n {
		if inner, ok := content.(map[string]any); ok {
			return kind, inner
		}
		return kind, nil
	}
	return "", nil
}

// child is a part by its name; nil when it is not there.
func (n node) child(name string) node {
	inner, _ := n[name].(map[string]any)
	return inner
}

// list is a list of parts by its name.
func (n node) list(name string) []node {
	items, _ := n[name].([]any)
	var found []node
	for _, item := range items {
		inner, _ := item.(map[string]any)
		found = append(found, inner)
	}
	return found
}

// text is a string by its name.
func (n node) text(name string) string {
	s, _ := n[name].(string)
	return s
}

// yes reports whether a boolean is true.
func (n node) yes(name string) bool {
	b, _ := n[name].(bool)
	return b
}

// has reports whether a part is there.
func (n node) has(name string) bool {
	_, ok := n[name]
	return ok
}

// each visits all parts that have a kind.
func (n node) each(visit func(kind string, n node)) {
	for name, part := range n {
		eachOf(name, part, visit)
	}
}

func eachOf(name string, part any, visit func(kind string, n node)) {
	switch part := part.(type) {
	case map[string]any:
		if name != "" && name[0] >= 'A' && name[0] <= 'Z' {
			visit(name, part)
		}
		node(part).each(visit)
	case []any:
		for _, item := range part {
			eachOf("", item, visit)
		}
	}
}

// words are the strings of a list, such as the parts of a name.
func words(list []node) []string {
	var found []string
	for _, item := range list {
		if s := item.child("String"); s != nil {
			found = append(found, s.text("sval"))
		}
	}
	return found
}

// objectName is the name of a table or another object.
type objectName struct {
	// shown is for people, quoted for the server.
	shown, quoted string
}

// named is a name from its parts.
func named(parts ...string) objectName {
	var shown, quoted []string
	for _, p := range parts {
		if p != "" {
			shown, quoted = append(shown, printable(p, maxShown)), append(quoted, quoteName(p))
		}
	}
	if len(shown) == 0 {
		return objectName{shown: "something without a name"}
	}
	return objectName{shown: strings.Join(shown, "."), quoted: strings.Join(quoted, ".")}
}

// relation is the name of a table that a statement refers to.
func relation(n node) objectName { return named(n.text("schemaname"), n.text("relname")) }
