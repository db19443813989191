package runbooks

import (
	"time"

	"github.com/backout/backout/workflows/incident"
)

// The ranking is a small Bayesian comparison. Each change gets a weight: how
// well it explains the harm, as the product of the factors below. NullWeight
// stands for "none of these". A suspect's score is its share of the sum of all
// weights and NullWeight, so that a rival lowers it and so does a thin case.
//
// These are fixed numbers that people can argue about, not learned ones. The
// simulation in rank_simulation_test.go shows what they are worth.
const (
	// NullWeight is the weight of a cause that is not among the changes: load,
	// a supplier, hardware, a slow leak. A quarter to a third of outages have
	// no change as their trigger.
	// Source: https://sre.google/workbook/postmortem-analysis/
	NullWeight = 0.1

	// BlameThreshold is the score that the first suspect must reach. Blaming an
	// innocent change costs several abstentions. A score is no probability: in
	// the simulation nine of ten suspects above this are guilty, and at a cost
	// of four abstentions a lower or a higher threshold is worth less.
	BlameThreshold = 0.7
	// BlameMargin is how many times the weight of the second suspect the first
	// must have.
	BlameMargin = 2.5

	// Horizon is the age at the onset from which a change is no suspect at all.
	Horizon = 6 * time.Hour
	// ClockSkew is how far after the onset a change may be dated and still have
	// come before it. Hosts that keep time with NTP agree far better than this.
	ClockSkew = 30 * time.Second
	// skewFactor is the weight factor of a change dated after the onset but
	// within ClockSkew. Alone it never reaches BlameThreshold.
	skewFactor = 0.2
	// minWeight is the weight below which a change counts for nothing, so that
	// a long list of old changes can not add up to a rival.
	minWeight = 0.02

	// supersededFactor is for a change whose target was changed again before
	// the onset: the state it wrote was no longer there, and the harm did not
	// begin while it was. So the newest of a train of releases stands out.
	supersededFactor = 0.2
	// undoneFactor is for a change that was taken back before the onset,
	// restoringFactor for the one that took it back to a state that had run.
	undoneFactor    = 0.1
	restoringFactor = 0.5

	// createdFactor is for a change before which the target did not exist: what
	// replaced nothing broke nothing that worked.
	createdFactor = 0.05

	// callerFactor is for a change of a service that calls the paged one, which
	// can overload it; unrelatedFactor for one with no known relation.
	callerFactor    = 0.1
	unrelatedFactor = 0.01
	// serviceUnknownFactor is for a change that names no service, such as one
	// of shared infrastructure.
	serviceUnknownFactor = 0.15

	// signalRange is the factor of a version-labelled SLI difference at its
	// best; at its worst it is one over it.
	signalRange = 6.0

	// MaxSuspects is how many suspects a ranking lists; people read no more.
	MaxSuspects = 20
)

// distanceFactors are by the length of the way from the paged service to the
// changed one. Farther is unrelatedFactor.
var distanceFactors = []float64{1, 0.5, 0.15, 0.05}

// kindPrior is how a kind of change compares with a deployment as a trigger of
// outages, and how soon it hurts: at the age of its halving time its weight is
// one half. Binary pushes trigger 37 % and configuration pushes 31 % of
// outages; the rest of the column is judgement.
// Source: https://sre.google/workbook/postmortem-analysis/
type kindPrior struct {
	weight  float64
	halving time.Duration
}

func priorOf(k incident.ChangeKind) kindPrior {
	switch k {
	case incident.ChangeDeploy:
		return kindPrior{1, 15 * time.Minute}
	case incident.ChangeConfig:
		return kindPrior{0.85, 12 * time.Minute}
	case incident.ChangeFlag:
		return kindPrior{0.85, 10 * time.Minute}
	case incident.ChangeTraffic:
		return kindPrior{0.75, 10 * time.Minute}
	case incident.ChangeMigration:
		return kindPrior{0.75, 15 * time.Minute}
	case incident.ChangeInfra:
		return kindPrior{0.6, 20 * time.Minute}
	case incident.ChangeAccess:
		return kindPrior{0.4, 20 * time.Minute}
	default:
		return kindPrior{0.5, 12 * time.Minute}
	}
}
