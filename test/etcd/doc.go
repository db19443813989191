// Command etcd runs one member of etcd in one process, for tests.
//
// It is a module of its own, because the server of etcd is needed nowhere else. The
// store listens on the loopback interface only, makes no promise of durability (it
// runs without fsync), and ends with its standard input, so that no test leaves one
// behind. Passwords are hashed as cheaply as the server lets them be: it is for
// tests, and nothing else.
//
// When it is ready it writes one line of JSON to standard output, of the form that
// test/controlplane/launch reads.
package main
