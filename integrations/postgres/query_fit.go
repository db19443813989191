package postgres

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// questions are the queries of Backout's own, by the name that is the path of a target.
// Each is one SELECT. What others have asked is shown without its literals.
// Source: https://www.postgresql.org/docs/current/monitoring-stats.html
var questions = map[string]string{
	// Who follows this server, and how far behind they are.
	"replication": `SELECT application_name, client_addr, state, sync_state,
  pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, replay_lsn) AS behind_bytes,
  extract(epoch FROM write_lag) AS write_lag_seconds, extract(epoch FROM flush_lag) AS flush_lag_seconds, extract(epoch FROM replay_lag) AS replay_lag_seconds
FROM pg_catalog.pg_stat_replication ORDER BY application_name, client_addr`,
	// Whether this server follows another, and how far behind it is.
	"standby": `SELECT pg_catalog.pg_is_in_recovery() AS standby,
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()) END AS behind_bytes,
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN extract(epoch FROM pg_catalog.now() - pg_catalog.pg_last_xact_replay_timestamp()) END AS behind_seconds`,
	// What keeps the log of the server from being thrown away.
	"slots": `SELECT slot_name, slot_type, active, wal_status,
  pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn) AS kept_bytes
FROM pg_catalog.pg_replication_slots ORDER BY slot_name`,
	// Who waits for a lock, and for whom.
	"locks": `SELECT w.pid, w.usename AS "user", w.application_name, extract(epoch FROM pg_catalog.clock_timestamp() - w.state_change) AS waits_seconds,
  l.locktype, l.mode, l.relation::pg_catalog.regclass AS relation, pg_catalog.pg_blocking_pids(w.pid) AS blocked_by,
  pg_catalog.left(pg_catalog.regexp_replace(w.query, '''[^'']*''|\m[0-9]+\M', '?', 'g'), 300) AS query
FROM pg_catalog.pg_stat_activity w JOIN pg_catalog.pg_locks l ON l.pid = w.pid AND NOT l.granted
ORDER BY w.state_change, w.pid`,
	// The oldest transactions, which hold back what others want.
	"transactions": `SELECT pid, usename AS "user", application_name, state, wait_event_type, wait_event,
  extract(epoch FROM pg_catalog.clock_timestamp() - xact_start) AS open_seconds, pg_catalog.cardinality(pg_catalog.pg_blocking_pids(pid)) AS blocked_by,
  pg_catalog.left(pg_catalog.regexp_replace(query, '''[^'']*''|\m[0-9]+\M', '?', 'g'), 300) AS query
FROM pg_catalog.pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() ORDER BY xact_start, pid`,
	// How many sessions there are of whom, in which state.
	"connections": `SELECT coalesce(datname, '-') AS database, coalesce(usename, '-') AS "user", coalesce(state, '-') AS state, pg_catalog.count(*) AS sessions
FROM pg_catalog.pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
}

func questionNames() []string { return slices.Sorted(maps.Keys(questions)) }

// harmless are the functions whose names begin with "pg_" that a query of a runbook may
// call: they read. All others are refused, because many of them act also inside of a
// transaction that can not write, such as pg_terminate_backend.
// Source: https://www.postgresql.org/docs/current/functions-admin.html
var harmless = []string{
	"pg_backend_pid", "pg_blocking_pids", "pg_column_size", "pg_current_wal_lsn", "pg_database_size", "pg_get_expr", "pg_get_indexdef",
	"pg_get_userbyid", "pg_indexes_size", "pg_is_in_recovery", "pg_last_wal_receive_lsn", "pg_last_wal_replay_lsn", "pg_last_xact_replay_timestamp",
	"pg_postmaster_start_time", "pg_relation_size", "pg_size_pretty", "pg_table_is_visible", "pg_table_size", "pg_tablespace_size",
	"pg_total_relation_size", "pg_typeof", "pg_wal_lsn_diff",
}

// acting are what the names of other functions begin with that act although the
// transaction can not write, or wait.
var acting = []string{"dblink", "lo_", "set_config", "setval", "nextval", "txid_", "query_to_xml", "table_to_xml", "cursor_to_xml", "schema_to_xml", "database_to_xml"}

// fit is the one SELECT of a query of a runbook, and what keeps it from being asked,
// which is empty when nothing does. The server refuses all that writes in any case.
func fit(sql string) (text, problem string) {
	if len(sql) > maxQuery {
		return "", fmt.Sprintf("the query is longer than %d bytes", maxQuery)
	}
	found, err := parse(sql)
	switch {
	case errors.Is(err, errNotUnderstood):
		return "", err.Error()
	case err != nil:
		return "", "the query could not be read: " + err.Error()
	case len(found) != 1 || found[0].kind != "SelectStmt":
		return "", paramSQL + " is not one SELECT"
	}
	node{found[0].kind: map[string]any(found[0].tree)}.each(func(kind string, n node) {
		switch {
		case kind == "LockingClause":
			problem = "the query locks rows: leave FOR UPDATE and FOR SHARE out"
		case kind == "SelectStmt" && n.has("intoClause"):
			problem = "the query makes a table: leave INTO out"
		case kind == "FuncCall":
			if name := words(n.list("funcname")); len(name) > 0 && acts(name[len(name)-1]) {
				problem = fmt.Sprintf("the query calls %s, which does not only read", printable(name[len(name)-1], maxShown))
			}
		}
	})
	return found[0].text, problem
}

// acts reports whether a function may do more than read.
func acts(name string) bool {
	if strings.HasPrefix(name, "pg_") {
		return !slices.Contains(harmless, name)
	}
	return slices.ContainsFunc(acting, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// codeCancelled is the SQLSTATE of a statement that was ended, by its time limit too.
const codeCancelled = "57014"

// txIdle is how the client says that no transaction is open.
const txIdle = 'I'

// isServer reports whether the server itself refused.
func isServer(err error) bool {
	var said *serverError
	return errors.As(err, &said)
}

// isState reports whether the server refused with a SQLSTATE.
func isState(err error, code string) bool {
	var said *serverError
	return errors.As(err, &said) && said.code == code
}
