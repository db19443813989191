package e2e_test

import (
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// incidentID is the identifier at the source in an incident's key.
func incidentID(key string) string {
	_, id, _ := strings.Cut(key, "/")
	return id
}

// outcomes are what became of the recorded answers, in order.
func outcomes(v incident.View) []incident.Outcome {
	var out []incident.Outcome
	for _, d := range v.Decisions {
		out = append(out, d.Outcome)
	}
	return out
}
