package postgres

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/backout/backout/integrations/driver"
)

// The parameters of the collector.
const (
	paramSQL    = "sql"
	paramTables = "tables"
	paramRows   = "rows"
)

// question is what a runbook asks: one SELECT, or the rows of tables.
type question struct {
	name   string
	sql    string
	tables []objectName
	// limit is how many rows are kept.
	limit int
}

// readQuestion checks what a runbook asks, without asking a server.
func readQuestion(name string, params map[string]string) (question, error) {
	q := question{name: name, limit: defaultRows}
	wrong := func(param, format string, args ...any) (question, error) {
		return question{}, &driver.ParamError{Param: param, Reason: fmt.Sprintf(format, args...)}
	}
	if !setName.MatchString(name) {
		return question{}, fmt.Errorf("%w: the path is the name of a query, such as %q", driver.ErrInvalid, "locks")
	}
	if err := driver.KnownParams(params, queryKind, paramSQL, paramTables, paramRows); err != nil {
		return question{}, err
	}
	if given, ok := params[paramRows]; ok {
		var err error
		if q.limit, err = strconv.Atoi(given); err != nil || q.limit < 1 || q.limit > maxRows {
			return wrong(paramRows, "it is not between 1 and %d", maxRows)
		}
	}
	own, known := questions[name]
	sql, tables := params[paramSQL], params[paramTables]
	switch {
	case (known || name == rowCounts) && sql != "":
		return wrong(paramSQL, "%q is a query of Backout's own: give the one of %s another name", name, paramSQL)
	case name != rowCounts && tables != "":
		return wrong(paramTables, "it belongs to the query %q", rowCounts)
	case known:
		q.sql = own
	case name == rowCounts:
		var problem string
		if q.tables, problem = tableNames(tables); problem != "" {
			return wrong(paramTables, "%s", problem)
		}
	case sql == "":
		return wrong(paramSQL, "there is no query of that name: set %s, or want one of %s, %s", paramSQL, strings.Join(questionNames(), ", "), rowCounts)
	default:
		var problem string
		if q.sql, problem = fit(sql); problem != "" {
			return wrong(paramSQL, "%s", problem)
		}
	}
	return q, nil
}

// tableName is how a table is spelled: with its schema, and without quotes.
var tableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_$]{0,62})\.([A-Za-z_][A-Za-z0-9_$]{0,62})$`)

// tableNames reads the tables of a runbook, quoted for the server; problem says what is
// wrong with them.
func tableNames(list string) (quoted []objectName, problem string) {
	for name := range strings.SplitSeq(list, ",") {
		m := tableName.FindStringSubmatch(strings.TrimSpace(name))
		if m == nil {
			return nil, fmt.Sprintf("set %s to tables with their schemas, such as %q: %q is none", paramTables, "shop.orders, shop.lines", printable(name, maxShown))
		}
		quoted = append(quoted, named(m[1], m[2]))
	}
	if len(quoted) > maxTables {
		return nil, fmt.Sprintf("%s names %d tables, and at most %d are counted", paramTables, len(quoted), maxTables)
	}
	return quoted, ""
}
