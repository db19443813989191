// Package unleash gives tests a real Unleash: the server that package-lock.json
// pins, one for each test process, on a database of its own in the PostgreSQL of
// test/postgres.
//
// It never pretends: a test that calls Require either talks to a real server, or is
// skipped with the command that provides one, or, where the environment variable
// CI is set, fails. The server listens on the loopback interface only and calls
// nobody. Only tests import it.
package unleash
