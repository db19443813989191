package product

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backout/backout/workflows/incident"
)

// decisionMeter exports what people decide, as counted by the workers.
type decisionMeter struct {
	decisions  *prometheus.CounterVec
	breakGlass prometheus.Counter
}

// newDecisionMeter registers the metrics, all of which start at zero.
func newDecisionMeter(r prometheus.Registerer) (decisionMeter, error) {
	m := decisionMeter{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_decisions_total",
			Help: "Answers to plans that were judged and recorded, by what they came to and by the tier of the plan.",
		}, []string{"outcome", "tier"}),
		breakGlass: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "backout_break_glass_total",
			Help: "Plans that one person approved alone, past the policy.",
		}),
	}
	for _, c := range []prometheus.Collector{m.decisions, m.breakGlass} {
		if err := r.Register(c); err != nil {
			return m, fmt.Errorf("export metrics: %w", err)
		}
	}
	for t := incident.TierOnCall; t <= incident.TierForbidden; t++ {
		for _, o := range []incident.Outcome{incident.OutcomeApproved, incident.OutcomeWaiting, incident.OutcomeRefused, incident.OutcomeDenied, incident.OutcomeUnidentified} {
			m.decisions.WithLabelValues(string(o), t.String())
		}
	}
	return m, nil
}

// Decided counts one answer.
func (m decisionMeter) Decided(outcome incident.Outcome, tier incident.Tier, past bool) {
	m.decisions.WithLabelValues(string(outcome), tier.String()).Inc()
	if past {
		m.breakGlass.Inc()
	}
}
