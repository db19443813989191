// Package pagerduty connects Backout to PagerDuty: it verifies and reads v3
// webhooks, lists open incidents and reads single ones for reconciliation, says
// who is on call and who is in a team, adds notes, pages the next level or the people
// of another service, and lists change events.
//
// It registers the system type "pagerduty" and the change source
// "pagerduty.changes", whose target path is a PagerDuty service ID.
//
// On call is who is paged first at this moment, overrides and all: a deleted user, a
// shift of another time and an empty rota are nobody. An answer that does not fit
// the question is an error and never an empty list.
//
// The only incidents that it opens are those by which other people are paged about an
// incident; what it opened is never read back as an incident of its own.
//
// It never acknowledges, resolves, merges or reassigns an incident to a
// person: that is for people to do. It refuses a webhook whose signature is
// missing, garbled or made with another secret, and one that does not say what
// happened to which incident. It sends its token to the configured address
// only, over TLS unless that address is loopback, follows no redirect, and puts
// no token into an error.
//
// Only integrations/install, bot and programs that choose their vendors import
// it.
package pagerduty
