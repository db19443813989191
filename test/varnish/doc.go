// Package varnish gives tests a real Varnish: one process for each test process,
// whose folder ends with it.
//
// It never pretends: a test that calls Require either talks to a real Varnish, or is
// skipped with the command that provides one, or, where the environment variable CI
// is set, fails. The management port is on the loopback interface and the cache on a
// socket of a file. Only tests import it.
package varnish
