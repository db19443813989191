// Package drivertest is the laws that every kind of inverse must obey, and the
// suite that tries them on the real system of each kind.
//
// The laws, by number:
//
//  1. Plan and Observe change nothing.
//  2. Applying twice is applying once, also when the first response was lost.
//  3. A target that a third party changed is refused, untouched, and the
//     difference is named.
//  4. A newer change is never clobbered, at whatever moment it comes, and never
//     taken for the state to go back to.
//  5. Applying and applying the swapped action restores the state, or the plan says
//     that there is no way back.
//  6. What stands in the way is found before anything is offered, in one plain
//     sentence.
//  7. Killed between any two calls, the next run completes; the maximum time is
//     honoured; a denial is final; throttling and time-outs are retried.
//  8. The plan says what it will not revert.
//  9. No secret is in any error, plan, observation, receipt, evidence or log, nor in
//     what is said of a system that can not be reached.
//
// A vendor describes its kinds as a Case each, in a package of its own below its
// folder, such as integrations/nats/natstest, and registers them from init.
// integrations/install has the test that imports all of them and runs the suite
// over the registry of kinds: a kind without a case fails, also for one of its forms,
// and a reversible kind with one-way doors is tried on both. Where a law can not
// apply, the case says why. With -v the suite ends the run of each kind with a table
// of all laws: passed, failed, or not applicable and why.
//
// The suite connects through a proxy that cuts, stalls and pauses the
// connection at every point in turn, and counts effects in the target's own
// history. It trusts nothing that the driver says about itself.
//
// Collectors that bear the name of a kind are tried by law 9. All others have laws and
// cases of their own, a CollectorCase each: see RunCollectors. A collector without one
// fails. So have counters: see RunCounters.
//
// It refuses to skip. Only tests import it.
package drivertest
