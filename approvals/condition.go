package approvals

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"

	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// Bounds of conditions. Costs are in the units of CEL, of which Kubernetes
// measured about ten million in a second.
// Source: https://kubernetes.io/docs/reference/using-api/cel/#resource-constraints
const (
	// MaxCost is what one condition may cost: about 10 ms.
	MaxCost = 100_000
	// MaxConditions is how many a policy may have.
	MaxConditions = 32
	// MaxCondition is the longest condition, in characters.
	MaxCondition = 2000
	// maxDepth is how deep a condition may be nested.
	maxDepth = 32
	// maxItems and maxText are how many items of a list and characters of a text
	// the estimate of a cost goes by. Longer ones end at MaxCost when they are
	// evaluated.
	maxItems = 100
	maxText  = 300
)

// truth is what is known of a condition. The zero value is invalid.
type truth int

const (
	yes truth = iota + 1
	no
	// unknown says that the condition could not be evaluated. It counts as
	// whatever asks for more authority.
	unknown
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// condition is a compiled expression.
type condition struct {
	source  string
	program cel.Program
	// live are the measurements that it asks for.
	live []incident.LiveFact
}

// MarshalJSON is the source: what the digest of a policy covers.
func (c *condition) MarshalJSON() ([]byte, error) { return json.Marshal(c.source) }

// holds evaluates the condition. An error of any kind is unknown.
func (c *condition) holds(activation map[string]any) truth {
	out, _, err := c.program.Eval(activation)
	if err != nil {
		return unknown
	}
	b, ok := out.(types.Bool)
	if !ok {
		return unknown
	}
	return truthOf(bool(b))
}

// environment is what conditions are compiled in. There is no has(), map or
// filter: nobody can ask whether something is known, so that not knowing can
// never be cheaper than knowing.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.CustomTypeProvider(objects{registry}), cel.StdLib(), cel.ClearMacros(),
		cel.Macros(cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(maxDepth), cel.ParserExpressionSizeLimit(MaxCondition),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals(), cel.ValidateHomogeneousAggregateLiterals()),
	}
	for _, v := range variables {
		options = append(options, cel.Variable(v.Name, v.cel))
	}
	return cel.NewCustomEnv(options...)
})

// condition compiles the expression at a path of the policy. Every problem is
// reported where it stands in the file.
func (r *policyParser) condition(path, source string) *condition {
	at := newPlacer(r.doc.At(path), r.content)
	fail := func(line, column int, format string, args ...any) {
		r.errs = append(r.errs, &strict.Error{Position: at.place(line, column), Message: path + ": " + fmt.Sprintf(format, args...)})
	}
	if r.conditions++; r.conditions > MaxConditions {
		fail(1, 0, "the policy has more than %d conditions", MaxConditions)
		return nil
	}
	if strings.TrimSpace(source) == "" {
		fail(1, 0, "it is empty")
		return nil
	}
	env, err := environment()
	if err != nil {
		fail(1, 0, "the conditions of policies can not be compiled: %v", err)
		return nil
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			message := strings.ReplaceAll(e.Message, " (in container '')", "")
			if strings.Contains(message, "reference to 'has'") {
				message = "has() is not there: what is not known always means more authority"
			}
			fail(e.Location.Line(), e.Location.Column(), "%s", strings.Join(strings.Fields(message), " "))
		}
		return nil
	}
	if checked.OutputType() != cel.BoolType {
		fail(1, 0, "want true or false, it gives %s", checked.OutputType())
		return nil
	}
	out := &condition{source: source}
	sound := true
	tree := checked.NativeRep()
	for _, e := range ast.MatchDescendants(ast.NavigateAST(tree), ast.AllMatcher()) {
		if message := escapes(e); message != "" {
			where := tree.SourceInfo().GetStartLocation(e.ID())
			fail(where.Line(), where.Column(), "%s", message)
			sound = false
		}
		if f := liveFact(e); f != "" && !slices.Contains(out.live, f) {
			out.live = append(out.live, f)
		}
	}
	estimate, err := env.EstimateCost(checked, sizes{})
	switch {
	case err != nil:
		fail(1, 0, "its cost can not be estimated: %v", err)
		return nil
	case estimate.Max > MaxCost:
		fail(1, 0, "it may cost %d, more than %d: ask less of lists inside of lists", estimate.Max, MaxCost)
		return nil
	case !sound:
		return nil
	}
	if out.program, err = env.Program(checked, cel.CostLimit(MaxCost)); err != nil {
		fail(1, 0, "%v", err)
		return nil
	}
	return out
}

// escapes says what is wrong with a part of an expression that would be checked
// at its evaluation only, or would make text from outside more than text.
func escapes(e ast.NavigableExpr) string {
	switch e.Kind() {
	case ast.CallKind:
		call := e.AsCall()
		switch call.FunctionName() {
		case "dyn", "type":
			return call.FunctionName() + "() is not there: the input has types"
		case "matches":
			pattern := call.Args()[len(call.Args())-1]
			if pattern.Kind() != ast.LiteralKind {
				return "matches() wants a pattern in quotes: text from outside is no pattern"
			}
		}
	case ast.StructKind, ast.MapKind:
		return "objects and maps can not be made here"
	case ast.UnspecifiedExprKind, ast.ComprehensionKind, ast.IdentKind, ast.ListKind, ast.LiteralKind, ast.SelectKind:
	}
	return ""
}

// liveFact is the measurement that a part of an expression asks for, if any.
func liveFact(e ast.NavigableExpr) incident.LiveFact {
	name := ""
	switch e.Kind() {
	case ast.IdentKind:
		name = e.AsIdent()
	case ast.SelectKind:
		if operand := e.AsSelect().Operand(); operand.Kind() == ast.IdentKind && operand.AsIdent() == "radius" {
			name = e.AsSelect().FieldName()
		}
	case ast.UnspecifiedExprKind, ast.CallKind, ast.ComprehensionKind, ast.ListKind, ast.LiteralKind, ast.MapKind, ast.StructKind:
	}
	if f := incident.LiveFact(name); f == incident.LiveSLOBurn || slices.Contains(incident.LiveFacts(), f) {
		return f
	}
	return ""
}

// sizes estimates what an expression costs by how large its input can be.
type sizes struct{}

// EstimateSize is the largest size that counts.
func (sizes) EstimateSize(e cost.AstNode) *cost.SizeEstimate {
	if e.Type().Kind() == types.ListKind {
		return &cost.SizeEstimate{Max: maxItems}
	}
	return &cost.SizeEstimate{Max: maxText}
}

// EstimateCallCost leaves every call to CEL's own estimate.
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// placer turns a place in an expression into a place in its file.
type placer struct {
	start strict.Position
	// indent is the column before the first character of every line, and lines
	// how many stand between the start and the first line: for a block.
	indent, lines int
	block         bool
}

func newPlacer(start strict.Position, content []byte) placer {
	p := placer{start: start, indent: start.Column}
	lines := strings.Split(string(content), "\n")
	if start.Line < 1 || start.Line > len(lines) {
		return p
	}
	line := lines[start.Line-1]
	if start.Column < 1 || start.Column > len(line) {
		return p
	}
	switch line[start.Column-1] {
	case '"', '\'':
		p.indent++
	case '|':
		for i, next := range lines[start.Line:] {
			if text := strings.TrimLeft(next, " "); text != "" {
				p.block, p.lines, p.indent = true, i+1, len(next)-len(text)+1
				break
			}
		}
	}
	return p
}

// place takes a line from 1 and a column from 0, as CEL counts.
func (p placer) place(line, column int) strict.Position {
	switch {
	case p.block:
		return strict.Position{File: p.start.File, Line: p.start.Line + p.lines + max(line, 1) - 1, Column: p.indent + column}
	case line > 1:
		// The lines of text that was folded are not those of the file.
		return p.start
	default:
		return strict.Position{File: p.start.File, Line: p.start.Line, Column: p.indent + column}
	}
}
