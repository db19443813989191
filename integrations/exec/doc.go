// Package exec connects Backout to programs: whatever has no driver of its own
// is rolled back by a program that speaks JSON on its standard input and output.
//
// It registers the system type "exec" and, for whatever the program knows by a
// path, the inverse and the change source "exec", and the collector "exec.collect".
//
// # Protocol
//
// The version of the protocol is "backout.exec/v1". Schema is its JSON Schema,
// and what does not match it is refused. The program is started anew for each
// question. It reads one JSON object from its standard input, writes one JSON
// object to its standard output and ends with status 0, within the time that the
// settings give it. A question is such as
//
//	{"protocol":"backout.exec/v1","id":"<32 hexadecimal digits>","verb":"observe",
//	 "system":"releases","path":"checkout","action":{"from":{...},"to":{...}}}
//
// and its answer repeats the protocol and the id beside the one member that the
// verb asks for, or beside "error":
//
//	verb      asks for        means
//	about     "about"         who are you, and which verbs do you know? Harmless.
//	plan      "plan"          from where to where, and what stands in the way? Changes nothing.
//	observe   "observation"   in which state is the target? Changes nothing.
//	apply     "receipt"       go from "from" to "to" in one compare-and-set, or do nothing.
//	changes   "changes"       what changed between two moments? Changes nothing. Optional.
//	collect   "evidence"      what is worth keeping before it is lost? Changes nothing. Optional.
//
// A state is a revision in the target's own history, a digest over the content
// and a label, never the content. Two states with one digest are one state. The
// program owes what every driver owes: absolute states; "already" without an
// effect when the target is at "to"; "drift", what is there and a difference in
// words when it is at neither state; a compare-and-set at the moment of the
// write; the same outcome for the same key, however often it is asked; and no
// harm when it is killed at any moment. An error has one of the codes "denied",
// "not_found", "invalid", which end the action, and "unavailable", after which
// Backout asks again.
//
// The program in exectest/sample is a complete example in one file.
//
// # What is refused
//
// No shell ever sees a word: the program has an absolute path, and arguments
// come from the settings alone. Its environment is what the settings list and
// nothing else. Time and output are bounded. Its process group ends with it: what
// it leaves behind there is killed. It may not be writable by others, and
// settings may pin its digest.
//
// An answer of another form, for another question, of two documents, with an
// unknown member, with a secret of its environment in it, or beside another
// status than 0 is no answer. What the program writes to its standard error goes
// nowhere, because nobody can say what is in it: it keeps logs of its own.
//
// One thing can not be refused: a program that tells the same lie every time.
// It is as trusted as a driver, which is why its digest can be pinned. A program
// that starts a session of its own leaves its process group; a container or a
// service manager around Backout has to hold it.
//
// Only integrations/install and programs that choose their vendors import it.
package exec
