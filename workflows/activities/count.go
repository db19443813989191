package activities

import "github.com/backout/backout/workflows/incident"

// count tells the meter of an answer that was written just now. A process that dies
// between the two counts one too few: the ledger is the record, not the metric.
func (a *Activities) count(d incident.Decision, tier incident.Tier) {
	if a.Meter != nil {
		a.Meter.Decided(d.Outcome, tier, d.BreakGlass && d.Outcome == incident.OutcomeApproved)
	}
}
