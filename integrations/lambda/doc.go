// Package lambda connects Backout to AWS Lambda.
//
// It registers the system type "lambda" and, for aliases of functions, the inverse,
// change source and collector "lambda.alias": an alias back to an absolute version.
//
// A state of an alias is the version that it points to and the share of a second
// version, if it has one. Both are in the revision, such as "12" or "12+13=0.1", so
// that a rollback from a shift of traffic ends it. A rollback updates the alias on
// condition of the RevisionId that was read with the state that was approved.
// Versions are immutable and their numbers are never used again; $LATEST is neither,
// and is refused.
//
// Lambda keeps no history of an alias. A plan that asks for the state before a moment
// takes the newest version that was published before it, and says that this is what
// it did. A runbook for functions that are rolled out in another way names the
// version.
//
// Whether the credential may update an alias is asked with an update that can not
// happen: to what is there, on condition of a RevisionId that no alias has.
//
// The configuration of a function holds its environment, which may be secret. Of what
// the API tells, only versions, weights, times, states and digests of code are kept.
//
// Only integrations/install and programs that choose their vendors import it.
package lambda
