// Package approvals decides how much authority a plan needs and whether the
// decisions taken so far give it: tiers, roles, quorum, separation of duties,
// step-up, expiry, objections, break-glass and refusal.
//
// It is pure: the policy is bytes; roles, measurements and time are arguments.
// It resolves no identity, sends nothing and remembers nothing. It fails closed:
// a tier that the policy does not know is denied, a person without an identity
// does not count, and a refusal by somebody with authority wins over any
// approval.
//
// # Conditions
//
// A policy may define facts, deny plans and move tiers by conditions in CEL, such
// as
//
//	radius.traffic_share > 0.2 && plan.actions.exists(a, a.kind == "flag.unleash")
//
// Conditions are compiled when the policy is loaded, against the typed input
// that Inputs lists; a mistake is an error with file, line and column, and so is
// one that may cost more than MaxCost. Nothing that comes from a plan or from
// production is ever compiled: it is a value, and no pattern either.
//
// What is not known, such as a share of traffic that could not be measured, and
// every error of an evaluation count as whatever asks for more authority: the
// plan gets the highest tier that it could have. There is no has(), so that
// nobody can make not knowing cheaper than knowing.
//
// It imports workflows/incident, the strict reader of runbooks and CEL.
// Workflows, activities, cmd and tests may import it.
package approvals
