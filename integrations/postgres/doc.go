// Package postgres connects Backout to PostgreSQL.
//
// It registers the system type "postgres" and the inverses and change sources
//
//   - "postgres.migration": the schema down to an absolute version, by the down
//     steps and in the version table of golang-migrate or goose;
//   - "postgres.restore": a database to a verified copy of a dump, by a change of
//     names; the original is kept beside it and never written to;
//   - "postgres.role": the credential of a role to an absolute version of its
//     secret, and an end to the sessions that the other one opened.
//
// Its collector "postgres.query" answers questions of Backout's own, such as who waits
// for a lock, counts the rows of tables, or asks the one SELECT of a runbook, in a
// transaction that can not write. Its credential needs to read what is asked for, and
// the role pg_monitor to see what others do.
//
// Its counter "postgres.count" counts rows for the data checks of runbooks in such a
// transaction, and refuses where policies for rows would hide some of them.
//
// A change is made by one message to the server, which holds the comparison, the
// change and the commit: no lock is ever held while the network is waited for,
// and a message that is cut has had its whole effect or none. A connection is
// made for each call and closed after it, so that a credential that was rotated
// is read again. It has to lead to the server, not to a pooler of transactions.
//
// What the server says is never passed on as it is: a message about data quotes
// data. Errors hold the SQLSTATE, and the names of tables, columns and
// constraints. Passwords, verifiers and the text of migrations appear nowhere.
//
// The scripts of migrations are read by PostgreSQL's own grammar, as libpg_query
// builds it, and judged by their parse trees.
//
// It refuses to guess: a script that is not understood, a statement that it does not
// know, a version table that is dirty or out of order, a step that can
// not be part of one transaction. What is not known to keep data is shown as
// destroying it, and makes the plan a one-way door.
//
// Only integrations/install and programs that choose their vendors import it.
package postgres
