// Package e2e holds the end-to-end tests: the real binary as a child process,
// in front of real systems and of stand-ins that refuse what the vendors refuse.
// It has no code of its own; see harness for the world that the tests live in.
package e2e
