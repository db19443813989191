// Package launchdarkly connects Backout to LaunchDarkly.
//
// It registers the system type "launchdarkly" and the inverse, change source and
// collector "flag.launchdarkly": one flag in ONE environment of its project back to
// a configuration that it had: on or off, targets, rules, prerequisites, what it
// serves by default and when it is off. Other environments, and what all of them
// share, such as the variations, are never touched.
//
// The history is the audit log, whose detailed entries hold the flag before and
// after each change. A state is named by the version that LaunchDarkly counts for
// the flag in the environment. The published document leaves the form of the flag
// in an entry open; an entry without the environment's configuration and version is
// one that can not be gone back to, and a plan says so.
//
// A write is one JSON Patch that tests for the version that was observed: a newer
// change of the flag in the environment makes LaunchDarkly refuse all of it. The
// comment of the write names Backout and the action, which is how a change that was
// made and then undone by somebody is told from one that was never made.
//
// A plan lets LaunchDarkly try the patch without keeping it, and so learns of a
// missing permission, of required approvals and of changes that are scheduled. It
// never passes approvals by: where they are required there is no rollback but by
// those who approve.
//
// Targets, rules and the values of variations may hold the names of customers. They
// are read, compared and written back, and appear nowhere else.
//
// Only integrations/install and programs that choose their vendors import it.
package launchdarkly
