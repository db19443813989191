package e2e_test

import (
	"context"
	"net/http"
	"strings"

	fakeslack "github.com/backout/backout/test/fakes/slack"
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

// contains reports whether a message shows words.
func contains(m fakeslack.Message, words string) bool {
	return strings.Contains(m.Text, words) || strings.Contains(string(m.Blocks), words)
}

// get is the status of an answer.
func get(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
