// Package attack holds text that somebody outside would choose to fool a reader or
// a program, and the tests that show it on every surface: the card, modals, the
// console, issues, the command line, logs and exports. It also holds the test that
// plants secrets all over a product and looks for them wherever it writes.
//
// It is for tests alone.
package attack
