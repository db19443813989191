// Package strict reads YAML that people write by hand and that decides what
// happens to production: unknown and repeated keys, values of the wrong type,
// anchors, aliases, merge keys and tags are errors, and every error names
// file, line and column. All errors of a document are reported at once.
//
// It never guesses: a number is not taken for a string, "yes" is not taken for
// true, and an empty document is not taken for an empty setting.
//
// It is pure, does no I/O and imports nothing of Backout, so that the runbook,
// policy and configuration readers can share it.
package strict
