package postgres

import (
	"slices"
	"strings"
)

// effect says what a statement does to what is stored. The zero value is
// invalid.
type effect int

const (
	// keeps means that the statement is known to destroy nothing.
	keeps effect = iota + 1
	// destroys means that it destroys something, or is not known.
	destroys
	// refused means that it can not be part of a transaction of Backout's.
	refused
)

// judgement is one thing that a statement does.
type judgement struct {
	effect effect
	// what completes the sentence "The step ...".
	what string
	// relation is the table, view or index that must belong to whoever runs the
	// statement, as to_regclass reads it; empty when there is none.
	relation string
}

func one(e effect, what string) []judgement { return []judgement{{effect: e, what: what}} }

// unclear is for what runs code that is not in its text.
func unclear(what string) []judgement {
	return one(destroys, "runs "+what+", whose effects can not be told from its text")
}

// keeping are the statements that destroy nothing, whatever they say.
var keeping = []string{
	"CommentStmt", "GrantStmt", "AlterDefaultPrivilegesStmt", "LockStmt", "ConstraintsSetStmt",
	"CreateStmt", "ViewStmt", "CreateSeqStmt", "CreateEnumStmt", "CompositeTypeStmt", "CreateRangeStmt", "CreateDomainStmt",
	"CreateFunctionStmt", "CreateTrigStmt", "CreatePolicyStmt", "CreateStatsStmt", "CreateCastStmt", "DefineStmt",
}

// foreign are the statements that are not about a schema, and what they do.
var foreign = map[string]string{
	"TransactionStmt":        "controls the transaction by itself",
	"CheckPointStmt":         "runs CHECKPOINT, which is not part of a migration",
	"DiscardStmt":            "runs DISCARD, which is not part of a migration",
	"ReindexStmt":            "runs REINDEX, which is not part of a migration",
	"ClusterStmt":            "runs CLUSTER, which is not part of a migration",
	"ListenStmt":             "runs LISTEN, which is not part of a migration",
	"UnlistenStmt":           "runs UNLISTEN, which is not part of a migration",
	"NotifyStmt":             "runs NOTIFY, which is not part of a migration",
	"LoadStmt":               "runs LOAD, which is not part of a migration",
	"PrepareStmt":            "prepares a statement, which is not part of a migration",
	"ExecuteStmt":            "executes a prepared statement, which is not part of a migration",
	"DeallocateStmt":         "drops a prepared statement, which is not part of a migration",
	"DeclareCursorStmt":      "opens a cursor, which is not part of a migration",
	"FetchStmt":              "reads from a cursor, which is not part of a migration",
	"ClosePortalStmt":        "closes a cursor, which is not part of a migration",
	"CreatedbStmt":           "creates a database, which is not part of a schema",
	"DropdbStmt":             "drops a database, which is not part of a schema",
	"AlterDatabaseStmt":      "alters a database, which is not part of a schema",
	"AlterDatabaseSetStmt":   "alters a database, which is not part of a schema",
	"CreateTableSpaceStmt":   "creates a tablespace, which is not part of a schema",
	"DropTableSpaceStmt":     "drops a tablespace, which is not part of a schema",
	"AlterSystemStmt":        "alters the system, which is not part of a schema",
	"CreateRoleStmt":         "creates a role, which is not part of a schema",
	"AlterRoleStmt":          "alters a role, which is not part of a schema",
	"AlterRoleSetStmt":       "alters a role, which is not part of a schema",
	"DropRoleStmt":           "drops a role, which is not part of a schema",
	"GrantRoleStmt":          "changes who has a role, which is not part of a schema",
	"DropOwnedStmt":          "drops all that a role owns",
	"ReassignOwnedStmt":      "gives away all that a role owns",
	"CreateSubscriptionStmt": "creates a subscription, which is not part of a schema",
	"AlterSubscriptionStmt":  "alters a subscription, which is not part of a schema",
	"DropSubscriptionStmt":   "drops a subscription, which is not part of a schema",
}

// opaque are the statements that run code or queries, by what people call them.
var opaque = map[string]string{
	"DoStmt": "DO", "CallStmt": "CALL", "MergeStmt": "MERGE", "RefreshMatViewStmt": "REFRESH",
	"CreateTableAsStmt": "a query for a new table", "CreateExtensionStmt": "the script of an extension", "AlterExtensionStmt": "the script of an extension",
}

// judge says what a statement does. What it does not know is destructive.
func judge(s statement) []judgement {
	t := s.tree
	if what := foreign[s.kind]; what != "" {
		return one(refused, what)
	}
	if what := opaque[s.kind]; what != "" {
		return unclear(what)
	}
	if slices.Contains(keeping, s.kind) {
		return one(keeps, "")
	}
	switch s.kind {
	case "VariableSetStmt":
		return judgeSet(t)
	case "VacuumStmt":
		if t.yes("is_vacuumcmd") {
			return one(refused, "runs VACUUM, which is not part of a migration")
		}
		return one(keeps, "")
	case "CopyStmt":
		if t.text("filename") == "" {
			return one(refused, "copies rows from or to a client, which is not there")
		}
		return unclear("COPY")
	case "DropStmt":
		return judgeDrop(t)
	case "AlterTableStmt":
		return judgeAlter(t)
	case "RenameStmt", "AlterObjectSchemaStmt", "AlterOwnerStmt":
		return judgeRename(s)
	case "IndexStmt":
		return judgeIndex(t)
	case "CreateSchemaStmt":
		found := one(keeps, "")
		for _, element := range t.list("schemaElts") {
			kind, tree := element.only()
			found = append(found, judge(statement{kind: kind, tree: tree})...)
		}
		return found
	case "TruncateStmt":
		var found []judgement
		for _, r := range t.list("relations") {
			found = append(found, judgement{effect: destroys, what: "empties " + relation(r.child("RangeVar")).shown})
		}
		return found
	case "DeleteStmt":
		return one(destroys, "deletes rows of "+relation(t.child("relation")).shown)
	case "UpdateStmt":
		return one(destroys, "overwrites values in "+relation(t.child("relation")).shown)
	case "InsertStmt":
		return judgeInsert(t)
	case "SelectStmt":
		if t.has("fromClause") || t.has("intoClause") || t.has("withClause") || t.has("larg") || runsUnknown(t) {
			return unclear("SELECT")
		}
		return one(keeps, "")
	}
	return one(destroys, "runs a statement that Backout does not know")
}

// sessionSettings are the settings that a step may change: they alter neither
// how its text is read nor who runs it.
var sessionSettings = []string{"search_path", "lock_timeout", "statement_timeout", "client_min_messages", "check_function_bodies", "timezone", "work_mem", "maintenance_work_mem"}

func judgeSet(t node) []judgement {
	switch t.text("kind") {
	case "VAR_SET_VALUE", "VAR_SET_DEFAULT", "VAR_RESET":
		if slices.Contains(sessionSettings, strings.ToLower(t.text("name"))) {
			return one(keeps, "")
		}
	}
	return one(refused, "changes a setting of the session that has to stay as it is")
}

// judgeInsert takes rows that are written out for harmless.
func judgeInsert(t node) []judgement {
	rows := t.child("selectStmt").child("SelectStmt")
	writtenOut := rows == nil || rows.has("valuesLists")
	merges := t.has("onConflictClause") && t.child("onConflictClause").text("action") != "ONCONFLICT_NOTHING"
	if writtenOut && !merges && !t.has("withClause") && !runsUnknown(t) {
		return one(keeps, "")
	}
	return one(destroys, "inserts into "+relation(t.child("relation")).shown+" in a way that may change more than it adds")
}

// judgeIndex is about an index, which runs the functions in it over all rows.
func judgeIndex(t node) []judgement {
	table := relation(t.child("relation"))
	switch {
	case t.yes("concurrent"):
		return one(refused, concurrently)
	case runsUnknown(t):
		return []judgement{{effect: destroys, what: "creates an index of " + table.shown + " by a function whose effects can not be told", relation: table.quoted}}
	}
	return []judgement{{effect: keeps, relation: table.quoted}}
}

const concurrently = "works concurrently, which no transaction can do"

// rebuilt are the kinds of objects that hold no rows: dropping one alone loses
// nothing that the way back does not bring, and fails where something depends on it.
var rebuilt = []string{
	"OBJECT_INDEX", "OBJECT_VIEW", "OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE", "OBJECT_AGGREGATE", "OBJECT_TRIGGER",
	"OBJECT_POLICY", "OBJECT_RULE", "OBJECT_STATISTIC_EXT", "OBJECT_TYPE", "OBJECT_DOMAIN", "OBJECT_CAST", "OBJECT_OPERATOR", "OBJECT_COLLATION",
}

// owned are the kinds of objects that the server can be asked about by their names.
var owned = []string{"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE"}

func judgeDrop(t node) []judgement {
	if t.yes("concurrent") {
		return one(refused, concurrently)
	}
	kind := t.text("removeType")
	cascades := t.text("behavior") == "DROP_CASCADE"
	var found []judgement
	for _, object := range t.list("objects") {
		name := dropped(object)
		j := judgement{effect: destroys, what: "drops the " + spoken(kind) + " " + name.shown}
		switch {
		case cascades:
			j.what += " and all that depends on it"
		case slices.Contains(rebuilt, kind):
			j.effect, j.what = keeps, ""
		}
		if slices.Contains(owned, kind) {
			j.relation = name.quoted
		}
		found = append(found, j)
	}
	return found
}

// dropped is the name of an object, of which PostgreSQL has several forms.
func dropped(object node) objectName {
	switch kind, n := object.only(); kind {
	case "List":
		return named(words(n.list("items"))...)
	case "String":
		return named(n.text("sval"))
	case "ObjectWithArgs":
		return named(words(n.list("objname"))...)
	case "TypeName":
		return named(words(n.list("names"))...)
	}
	return named()
}

// spoken is a kind of object as people say it.
func spoken(kind string) string {
	if kind == "OBJECT_MATVIEW" {
		return "materialized view"
	}
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(kind, "OBJECT_")), "_", " ")
}

// judgeRename is about names, schemas and owners, which hold no rows.
func judgeRename(s statement) []judgement {
	kind := s.tree.text("renameType") + s.tree.text("objectType")
	switch kind {
	case "OBJECT_DATABASE", "OBJECT_ROLE", "OBJECT_TABLESPACE", "OBJECT_SUBSCRIPTION":
		return one(refused, "alters a "+spoken(kind)+", which is not part of a schema")
	}
	return []judgement{{effect: keeps, relation: relation(s.tree.child("relation")).quoted}}
}
