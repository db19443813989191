// Package login proves who sits at a browser: by an OpenID Connect provider, and
// by a passkey that signs for one plan.
//
// A session and everything else that a browser carries is sealed with a key that
// all bots share, so that no bot holds state. What must be durable, or known to
// all bots at once, is in the Store: passkeys with their counters, enrolment
// codes, and what was spent and must not come again.
//
// A passkey is enrolled with a code that an administrator hands to the person,
// and only minutes after they logged in: whoever steals a password can not make
// the second proof too.
//
// It refuses a login that this browser did not begin or that was finished before,
// an e-mail address that the provider did not verify, a session that is old, idle
// or ended, and a proof for another plan, person, session or moment. An
// authenticator whose counter goes backwards is locked. Whatever can not be
// looked up is refused.
//
// It knows nothing of incidents, decides nothing, and logs nothing. Package bot,
// the commands and tests import it.
package login
