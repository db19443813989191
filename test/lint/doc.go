// Package lint proves that the rules of .golangci.yml bite: it runs the linter
// on deliberately bad code and compares what is reported with what should be.
// A rule or a denied package without bad code to prove it fails the test. It
// has no code of its own and nobody imports it.
package lint
