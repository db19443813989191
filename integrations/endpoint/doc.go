// Package endpoint connects Backout to HTTP endpoints that are looked at, and never
// changed: a health check, a status page, what a customer gets to see.
//
// It registers the system type "endpoint" and the collector "http.probe", which asks
// one path with GET or HEAD and keeps the status, the headers that are listed, the
// beginning of the body and how long each part took. An endpoint that does not answer
// is evidence as well: the document says why.
//
// Where a request goes is the business of the settings alone: a runbook names a path
// below the configured address and nothing else. No redirect is followed. Addresses on
// the link and those where clouds serve credentials are never connected to, and
// private ones only where the settings list their network, whatever a name resolves
// to. There is no proxy, and nothing is taken from the environment.
//
// Only integrations/install and programs that choose their vendors import it.
package endpoint
