package product

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backout/backout/workflows/incident"
)

// What a count means, as a label.
const (
	countWithin   = "within"
	countDiverges = "diverges"
	countUnknown  = "unknown"
)

// dataMeter exports what still diverges in data, as counted by this worker. Its labels
// are names of the catalogue and of runbooks: nothing from outside.
type dataMeter struct {
	divergence *prometheus.GaugeVec
	counts     *prometheus.CounterVec
}

// newDataMeter registers the metrics.
func newDataMeter(r prometheus.Registerer) (dataMeter, error) {
	m := dataMeter{
		divergence: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "backout_data_divergence",
			Help: "What a data check of a runbook counted last, by service and check. There is none when it could not be counted.",
		}, []string{"service", "check"}),
		counts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_data_counts_total",
			Help: "Counts of data checks, before and after rollbacks, by what they mean: within the bound, diverges, or unknown.",
		}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.divergence, m.counts} {
		if err := r.Register(c); err != nil {
			return m, fmt.Errorf("export metrics: %w", err)
		}
	}
	for _, result := range []string{countWithin, countDiverges, countUnknown} {
		m.counts.WithLabelValues(result)
	}
	return m, nil
}

// Diverges shows one round of counts.
func (m dataMeter) Diverges(service string, checks []incident.DataCheck, counts []incident.DataCount) {
	for i, c := range counts {
		if i == len(checks) || checks[i].Name != c.Name {
			return
		}
		switch {
		case c.Count == nil:
			m.divergence.DeleteLabelValues(service, c.Name)
			m.counts.WithLabelValues(countUnknown).Inc()
			continue
		case *c.Count > checks[i].AtMost:
			m.counts.WithLabelValues(countDiverges).Inc()
		default:
			m.counts.WithLabelValues(countWithin).Inc()
		}
		m.divergence.WithLabelValues(service, c.Name).Set(float64(*c.Count))
	}
}

// meters are all that the activities tell.
type meters struct {
	decisionMeter
	dataMeter
}

func newMeters(r prometheus.Registerer) (meters, error) {
	decisions, err := newDecisionMeter(r)
	if err != nil {
		return meters{}, err
	}
	data, err := newDataMeter(r)
	return meters{decisions, data}, err
}
