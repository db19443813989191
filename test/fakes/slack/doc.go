// Package fakeslack is a stand-in for Slack that is a server, not a mock.
//
// It answers the Web API under /api/, opens Socket Mode connections, delivers
// signed slash commands, interactions and events over HTTP, honours response
// URLs, and shows the workspace as a web page at /. It refuses what Slack
// refuses: unknown, missing or ill-typed arguments, wrong tokens and scopes, bad
// blocks, edits of other people's messages, late trigger IDs, too many requests,
// and acknowledgements after three seconds. What a method takes and answers comes
// from the contract package; what blocks may look like comes from
// bot/views/blockkit.
//
// A test switches faults on with Server.Fault and looks at what happened with
// Server.Messages, Server.Ephemerals and Server.Calls. Nothing is persisted, and
// the server listens on the loopback interface only.
//
// Only tests and cmd/sandbox may import it.
package fakeslack
