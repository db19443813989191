// Package approvals decides how much authority a plan needs and whether the
// decisions taken so far give it: tiers, roles, quorum, separation of duties,
// expiry, break-glass and refusal.
//
// It is pure: the policy is bytes, roles and time are arguments. It resolves no
// identity, sends nothing and remembers nothing. It fails closed: a tier that
// the policy does not know is denied, a person without an identity does not
// count, and a refusal by somebody with authority wins over any approval.
//
// It imports workflows/incident and the strict reader of runbooks. Workflows,
// activities, cmd and tests may import it.
package approvals
