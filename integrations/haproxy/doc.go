// Package haproxy connects Backout to HAProxy by its runtime socket.
//
// It registers the system type "haproxy" and, for the servers of a backend, the
// inverse, change source and collector "route.haproxy": weights and
// administrative states back to what they were.
//
// A state is the weight of every server of the target and whether it is ready,
// drained or in maintenance. Its revision is spelled out, such as
// "blue=100,green=0/maint", so that a revision is absolute without a history:
// HAProxy keeps none. The weights of the configuration file are the revision
// "config", and the settings can give names to others.
//
// HAProxy has no compare-and-set either. There are two ways to write:
//
//   - With the extension (Script, a Lua file that HAProxy loads) the process itself
//     compares and sets, keeps the history of the weights while it lives, and takes
//     changes from whoever knows a token, so that the socket can be one of level
//     "user". What is left is the moment between two instructions of the same
//     process.
//   - Without it, one line of commands shows the state, sets the weights and shows
//     the state again. A change that arrives after the last look and before that
//     line is overwritten. The line tells what it has overwritten, which is then put
//     back: for one round trip it was not in force. Only a change between two
//     commands of one line, which HAProxy runs one after the other, stays unseen.
//     A plan says so.
//
// It changes the running process and never a file: at a reload HAProxy goes by its
// configuration again. It refuses to guess: a revision that does not name every
// server, a server that is gone, weights that the balancing algorithm does not take.
//
// Only integrations/install and programs that choose their vendors import it.
package haproxy
