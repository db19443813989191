package postgres

import "slices"

// keepingActions are the actions of ALTER TABLE that destroy nothing, unless they
// run a function or cascade.
var keepingActions = []string{
	"AT_AddColumn", "AT_ColumnDefault", "AT_DropNotNull", "AT_SetNotNull", "AT_SetStatistics", "AT_SetStorage", "AT_SetCompression",
	"AT_AddConstraint", "AT_AlterConstraint", "AT_ValidateConstraint", "AT_AddIndexConstraint", "AT_DropConstraint",
	"AT_ChangeOwner", "AT_ClusterOn", "AT_DropCluster", "AT_SetLogged", "AT_SetRelOptions", "AT_ResetRelOptions", "AT_ReplicaIdentity",
	"AT_EnableTrig", "AT_EnableAlwaysTrig", "AT_EnableReplicaTrig", "AT_DisableTrig", "AT_EnableTrigAll", "AT_DisableTrigAll", "AT_EnableTrigUser", "AT_DisableTrigUser",
	"AT_EnableRule", "AT_EnableAlwaysRule", "AT_EnableReplicaRule", "AT_DisableRule",
	"AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_NoForceRowSecurity",
	"AT_AttachPartition", "AT_AddIdentity", "AT_SetIdentity",
}

// judgeAlter is about ALTER TABLE and what else the grammar takes for it.
func judgeAlter(t node) []judgement {
	table := relation(t.child("relation"))
	var found []judgement
	for _, item := range t.list("cmds") {
		action := item.child("AlterTableCmd")
		if action.child("def").child("PartitionCmd").yes("concurrent") {
			return one(refused, concurrently)
		}
		j := judgeAction(action, table.shown)
		j.relation = table.quoted
		found = append(found, j)
	}
	if len(found) == 0 {
		return one(destroys, "alters "+table.shown+" in a way that Backout does not know")
	}
	return found
}

// judgeAction is about one action of ALTER TABLE.
func judgeAction(action node, table string) judgement {
	kind, column := action.text("subtype"), printable(action.text("name"), maxShown)
	switch {
	case kind == "AT_DropColumn" && action.text("behavior") == "DROP_CASCADE":
		return judgement{effect: destroys, what: "drops the column " + column + " of " + table + " and all that depends on it"}
	case kind == "AT_DropColumn":
		return judgement{effect: destroys, what: "drops the column " + column + " of " + table}
	case action.text("behavior") == "DROP_CASCADE":
		return judgement{effect: destroys, what: "alters " + table + " and all that depends on it"}
	case kind == "AT_AlterColumnType":
		return judgeType(action.child("def").child("ColumnDef"), table, column)
	case !slices.Contains(keepingActions, kind):
		return judgement{effect: destroys, what: "alters " + table + " in a way that Backout does not know"}
	case kind != "AT_ColumnDefault" && runsUnknown(action):
		// A default that is set is not run; one of a new column is, for all rows.
		return judgement{effect: destroys, what: "alters " + table + " by a function whose effects can not be told"}
	}
	return judgement{effect: keeps}
}

// judgeType is about another type for a column. Every value has a spelling as text;
// all other types may be narrower.
func judgeType(def node, table, column string) judgement {
	names := words(def.child("typeName").list("names"))
	if !def.has("raw_default") && !def.child("typeName").has("arrayBounds") && (slices.Equal(names, []string{"text"}) || slices.Equal(names, []string{"pg_catalog", "text"})) {
		return judgement{effect: keeps}
	}
	return judgement{effect: destroys, what: "changes the type of " + column + " in " + table + ", which loses what does not fit"}
}

// harmlessCalls are functions of PostgreSQL's own that change nothing that is stored.
var harmlessCalls = []string{
	"now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "gen_random_uuid", "random", "nextval",
	"lower", "upper", "length", "btrim", "ltrim", "rtrim", "concat", "to_tsvector", "date_trunc", "timezone", "jsonb_build_object", "jsonb_build_array",
}

// runsUnknown reports whether a part of a statement calls a function that is not
// known to be harmless, or asks a query of its own.
func runsUnknown(t node) bool {
	unknown := false
	t.each(func(kind string, n node) {
		switch kind {
		case "FuncCall":
			name := words(n.list("funcname"))
			if len(name) == 2 && name[0] == "pg_catalog" {
				name = name[1:]
			}
			if len(name) != 1 || !slices.Contains(harmlessCalls, name[0]) {
				unknown = true
			}
		case "SubLink", "WithClause", "CommonTableExpr", "RangeFunction":
			unknown = true
		}
	})
	return unknown
}
