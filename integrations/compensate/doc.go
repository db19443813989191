// Package compensate connects Backout to services that undo things themselves:
// where there is no exact undo, a service that knows its business offers a
// compensation, and Backout asks for it by one signed request.
//
// It registers the system type "http" and, for the resources of such services,
// the inverse and the change source "http.compensate".
//
// # Contract
//
// A target is "<host>/<resource>": a host that the settings list, and a path below
// its url. The service answers, in JSON,
//
//	GET <url>                                       200: I am here, and take the token.
//	GET <url>/<resource>                            the state that the resource is in:
//	    {"state":S,"settled":true,"detail":"..."}   and an ETag, if it has one.
//	GET ...?view=plan&revision=R                    what it would take to go back to a
//	GET ...?view=plan&before=T                      revision, or to before a moment:
//	    {"from":S,"to":S,"reversible":true,"expected_seconds":2,"wont_revert":["..."],
//	     "checks":[{"name":"...","result":"ok|warning|unknown|blocked","reason":"..."}]}
//	GET ...?view=changes&since=T&until=T            what changed, oldest first:
//	    {"changes":[{"id":"...","at":"T","author":"...","from":"...","to":"...","summary":"..."}]}
//	POST <url>/<resource>                           go from "from" to "to", or do nothing:
//	    {"type":"backout.compensate","data":{"host":"...","resource":"...","key":"...","from":S,"to":S}}
//	    200 {"result":"applied|already","state":S,"detail":"..."}
//	    412 {"result":"drift","state":S,"detail":"what is there instead"}
//
// where T is a moment as RFC 3339 has it and S is a state, which its content does
// not appear in: {"revision":"7","digest":"sha256:...","label":"v41"}. A service
// that has no digest names its states by strong ETags: {"revision":"7","etag":"\"x\""}.
//
// The POST is signed as https://www.standardwebhooks.com has it (webhook-id,
// webhook-timestamp, webhook-signature with "v1"). Its Idempotency-Key is that of
// the action, and its If-Match the ETag that was seen last. The service owes a
// compare-and-set: it refuses a signature that is wrong or old, a request that it
// has seen before (409, for Backout to try again later), a key that comes with
// another body (422), and a resource that is at neither state (412). It applies
// one key once, for ever. As soon as it has answered "applied" it shows the state
// "to", with "settled" false while it still works on it.
//
// Whether there is a way back is the service's to say: "reversible" in its plan.
//
// # What is refused
//
// A request goes to the hosts of the settings alone, over TLS, without a proxy
// and without following a redirection. The address is checked at the moment of
// the connection, after its name was resolved, so that a name that points
// elsewhere meanwhile helps nobody: link-local addresses and those of metadata
// services never, private ones where the settings list their network. Answers are
// bounded. An answer of another form, with an unknown member, or with one of
// Backout's own secrets in it is no answer.
//
// Only integrations/install and programs that choose their vendors import it.
package compensate
