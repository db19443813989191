// Package exectest builds the programs that the tests of integrations/exec run,
// and describes the kind "exec" to the law suite.
//
// The counterpart is a real program: sample, which rolls back release pointers in
// files. Beside it is hostile, which does everything that a program must not do.
//
// Only tests import it: it calls the go command.
package exectest
