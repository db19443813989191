// Package postgres gives tests a real PostgreSQL: a server that it starts from the
// machine's own package, one for each test process, with all data in a folder that
// ends with it.
//
// It never pretends: a test that calls Require either talks to a real server, or
// fails with the command that provides one. The server listens on the loopback
// interface only, and never runs as root. Only tests import it.
package postgres
