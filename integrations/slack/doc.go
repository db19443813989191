// Package slack shows incidents in Slack channels and maps Slack accounts to
// people.
//
// Channel keeps one card an incident: the first post carries the incident's
// key as message metadata, so that a retry after a lost response finds the
// card instead of posting a second one. Pictures go into its thread. It reads messages
// that people pinned, and their images from Slack's own hosts alone. Directory answers
// with exactly one active person, or refuses with a reason; it also says who is in a
// user group.
//
// It refuses to guess: a guest, a bot, a deactivated account, an account of
// another workspace or one that maps to nobody is no identity; an e-mail address
// counts where that was asked for, if it is confirmed, one account's alone and in
// plain ASCII, because other letters fold into these; a card of another app is no
// card. It never waits for a rate limit inside a call: the
// error says how long to wait. No error holds a token or the text of a message.
//
// It renders nothing itself: it is handed a render function. Only the commands
// that assemble Backout import it; it imports no other vendor.
package slack
