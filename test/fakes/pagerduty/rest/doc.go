// Package rest is what the stand-ins for REST vendors share: facts derived
// from a vendor's OpenAPI document, the check of requests and responses
// against those facts, switchable faults, a record of calls, and the loopback
// server that ties them together.
//
// It knows no vendor: authentication, error envelopes and state belong to the
// stand-in. It refuses to listen on anything but a loopback address, and a
// stand-in whose own response breaks the facts answers 500 and records the
// violation, so that a stand-in cannot drift from the vendor unnoticed.
//
// Tests, cmd/sandbox and the stand-ins under test/fakes may import it; the
// product may not.
package rest
