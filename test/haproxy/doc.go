// Package haproxy gives tests a real HAProxy: a process of its own for each call of
// Start, with its sockets in a folder that ends with the test.
//
// It never pretends: a test that calls Start either talks to a real HAProxy, or is
// skipped with the command that provides one, or, where the environment variable CI
// is set, fails. It listens on sockets of files and on the loopback interface only.
// Only tests import it.
package haproxy
