// Package codec encrypts what Temporal stores for the product: the arguments
// and results of workflows, activities, signals, updates and queries, memos,
// heartbeats, summaries, and the messages and stack traces of failures.
//
// It fails closed. A payload that is not encrypted, was changed, or was
// encrypted with a key that is not at hand is an error, never passed on as it
// is. So whoever can reach Temporal but does not have the key can neither read
// an incident nor feed one a decision. AllowPlain weakens that for the time
// that histories from before the encryption are still open.
//
// Some things stay readable, because Temporal itself works with them and never
// asks a codec: search attributes, workflow and task queue names, workflow and
// update IDs, signal and update names, the types of failures, timings, and the
// messages of failures that the server makes, such as timeouts. No secret and
// no text from outside belongs in those.
//
// A payload does not say which workflow it belongs to: who can write to
// Temporal can move an encrypted payload from one place to another. That is
// why decisions carry the incident and the plan digest inside.
//
// The worker, the clients of the product and its tools import this package.
// Workflow code does not.
package codec
