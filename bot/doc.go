// Package bot is the transport between the world and the incidents: webhooks of
// the paging service, Slack over HTTP and Socket Mode, the API of the command
// line, and the web console. Each request becomes one Temporal message.
//
// It holds no state that matters: run as many as you like, kill any of them. A
// webhook or click is acknowledged only once Temporal has it. Whatever can be
// repeated carries an ID that Temporal and the incident dedupe by, so a retry, a
// replay or a second process changes nothing.
//
// Where a login is configured, people reach the console with a session of package
// bot/login, and approve what needs a second proof there, and nowhere else.
//
// It refuses what is not signed or too old, and what it has seen already. It
// decides nothing: who somebody is and what they may do is resolved by the
// incident, at the decision. It writes no words for people; those are in
// bot/views. It logs no bodies, tokens, signatures or response addresses.
//
// Only the commands import it. It imports bot/views, bot/login,
// workflows/incident, the Temporal client and slack-go.
package bot
