// Package incident is the vocabulary of Backout and its wire contract: what a
// page, a change, an action, a plan, an option, a decision, a rollback and a
// verdict are, which messages an incident workflow accepts, how workflow IDs
// are built, and which errors travel between workflows and activities.
//
// It is a leaf: it imports the standard library only, does no I/O, reads no
// clock and holds no policy. Every other package may import it.
//
// Values of these types cross Temporal's wire and live in recorded histories:
// fields are added, never renamed or given a new meaning.
package incident
