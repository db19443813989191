// Package fakepagerduty is a stand-in for PagerDuty: a server on loopback that
// speaks the part of the REST API v2 and Events API v2 that Backout uses, and
// delivers signed v3 webhooks.
//
// Requests are held to facts derived from PagerDuty's OpenAPI documents (see
// the contract folder): unknown parameters and fields, missing headers, values
// outside of an enumeration, a null priority and a wrong token are refused in
// PagerDuty's error envelope. Its own answers are held to the same facts. A
// test switches faults on with Inject and steers webhooks through a
// Subscription.
//
// Tests and cmd/sandbox may import it; the product may not. It refuses to
// listen on anything but loopback.
package fakepagerduty
