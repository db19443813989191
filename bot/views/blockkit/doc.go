// Package blockkit decides whether Slack would accept a piece of Block Kit.
//
// It reads the JSON that is about to be sent, not the Go values it came from,
// and holds it against the limits that Slack documents: sizes, required and
// known fields, which element may stand in which block, which kind of text goes
// where, and identifiers that must not repeat. Every problem is reported with
// the JSON pointer of the place it was found, in the form in which Slack reports
// them in response_metadata.messages.
//
// It refuses what it does not know. A block, element or field that Slack has and
// this package has not learned yet is an error here, so that nothing reaches a
// channel at night that was never looked at. It does not render, repair, shorten
// or look anything up, and it does no I/O.
//
// Anything may import it: the views prove their golden files with it, and the
// stand-in for Slack refuses with it.
package blockkit
