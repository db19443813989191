// Package whatif tries a policy on cases that people wrote down: this plan, this
// blast radius, these answers, and what the policy should make of them.
//
// It is pure, and it decides nothing: its people are names in a file, and its
// results start no rollback. Only cmd and tests may import it.
package whatif
