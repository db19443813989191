package postgres

import (
	"errors"
	"fmt"
	"strings"
)

// maxListed is how many destructive statements are listed for people.
const maxListed = 12

// step is one direction of one migration, taken apart.
type step struct {
	migration migration
	// direction is "down" or "up".
	direction  string
	statements []statement
}

// label is what people call the step.
func (s step) label() string {
	return fmt.Sprintf("the %s step of %s", s.direction, s.migration.label())
}

// obstacleError says why a step can not be run.
type obstacleError struct{ reason string }

// Error is the reason, as one sentence without its full stop.
func (e *obstacleError) Error() string { return e.reason }

// takeApart reads a direction of a migration as a step that can be part of a
// transaction. A *obstacleError says why it can not.
func takeApart(m migration, direction string) (step, error) {
	s := step{migration: m, direction: direction}
	side := m.up
	if direction == "down" {
		side = m.down
	}
	obstacle := func(why string) (step, error) {
		return step{}, &obstacleError{fmt.Sprintf("%s %s", capital(s.label()), why)}
	}
	switch {
	case !side.there:
		return obstacle("does not exist")
	case side.obstacle != "":
		return obstacle(side.obstacle)
	}
	statements, err := parse(side.text)
	switch {
	case errors.Is(err, errNotUnderstood):
		return obstacle("can not be taken apart (" + printable(err.Error(), 2*maxShown) + ")")
	case err != nil:
		return step{}, err
	}
	s.statements = unwrap(statements)
	if len(s.statements) == 0 {
		return obstacle("is empty, so that the version would change and the schema would not")
	}
	for _, found := range s.judge() {
		if found.effect == refused {
			return obstacle(found.what)
		}
	}
	return s, nil
}

// unwrap takes off a transaction around all statements: the step gets another.
func unwrap(statements []statement) []statement {
	last := len(statements) - 1
	if last < 1 {
		return statements
	}
	begins := controls(statements[0], "TRANS_STMT_BEGIN") || controls(statements[0], "TRANS_STMT_START")
	if begins && controls(statements[last], "TRANS_STMT_COMMIT") {
		return statements[1:last]
	}
	return statements
}

// controls reports whether a statement begins or ends a transaction, without asking
// for anything more.
func controls(s statement, kind string) bool {
	return s.kind == "TransactionStmt" && s.tree.text("kind") == kind && !s.tree.has("options") && !s.tree.has("chain")
}

// judge says what all statements do.
func (s step) judge() []judgement {
	var found []judgement
	for _, st := range s.statements {
		found = append(found, judge(st)...)
	}
	return found
}

// text is the step as it is sent.
func (s step) text() string {
	var b strings.Builder
	for _, st := range s.statements {
		b.WriteString(st.text)
		b.WriteString("\n;\n") // A comment at the end of it must not swallow the semicolon.
	}
	return b.String()
}

// destruction lists what some steps destroy, for people.
func destruction(steps []step) []string {
	var lines []string
	for _, s := range steps {
		for _, found := range s.judge() {
			if found.effect != keeps {
				lines = append(lines, fmt.Sprintf("%s %s", s.label(), found.what))
			}
		}
	}
	if extra := len(lines) - maxListed; extra > 0 {
		lines = append(lines[:maxListed], fmt.Sprintf("and %d more statements that destroy something", extra))
	}
	return lines
}

// relations are the tables and indexes that have to belong to whoever runs some
// steps.
func relations(steps []step) []string {
	var names []string
	for _, s := range steps {
		for _, found := range s.judge() {
			if found.relation != "" {
				names = append(names, found.relation)
			}
		}
	}
	return names
}
