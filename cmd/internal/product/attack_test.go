package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/test/attack"
	"github.com/backout/backout/workflows/incident"
)

// answering is a Backout that answers every call with hostile text.
func answering(t *testing.T, text string) (env []string) {
	t.Helper()
	v := attack.Poison(attack.Incident(incident.PhaseDeciding), text)
	v.Severity, v.Phase = incident.Severity(text), incident.Phase(text)
	answers := map[string]any{
		"view": v, "list": bot.ListAnswer{Incidents: []bot.Summary{{Key: text, Service: text, Severity: incident.Severity(text), Phase: incident.Phase(text)}}},
		"declare": bot.DeclareAnswer{Key: text}, "decide": incident.Result{Outcome: incident.OutcomeDenied, Reason: text},
		"command": incident.Result{Outcome: incident.Outcome(text), Reason: text},
	}
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		if strings.Contains(r.Header.Get("Authorization"), "refuse") {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(bot.Problem{Error: text})
			return
		}
		_ = json.NewEncoder(w).Encode(answers[name])
	}))
	t.Cleanup(up.Close)
	return []string{"BACKOUT_URL=" + up.URL}
}

// No command prints anything that a terminal acts on, whatever the server says.
func TestTextStaysTextOnTheCommandLine(t *testing.T) {
	t.Parallel()
	digest := attack.Incident(incident.PhaseDeciding).Options[0].Digest
	for name, text := range attack.Texts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := answering(t, text)
			for _, token := range []string{"token", "refuse"} {
				env := append([]string{"BACKOUT_TOKEN_FILE=" + write(t, "token", token)}, env...)
				for _, args := range [][]string{
					{"incident", "list"},
					{"incident", "show", "pagerduty/Q1"},
					{"incident", "show", "--json", "pagerduty/Q1"},
					{"incident", "declare", "--service", "a", "b"},
					{"approve", "pagerduty/Q1", "o1", "--digest", digest},
					{"refuse", "pagerduty/Q1", "o1", "--digest", digest, "--reason", "no"},
					{"incident", "escalate", "pagerduty/Q1"},
				} {
					var stdout, stderr bytes.Buffer
					Main(t.Context(), "backout", args, env, &stdout, &stderr, nil)
					out := stdout.String() + stderr.String()
					require.NotEmpty(t, out)
					require.True(t, attack.Quiet(out), "%v prints %.200q", args, out)
					if token == "token" && args[1] == "list" {
						require.Equal(t, 1, strings.Count(out, "\n"), "one line for each incident")
					}
				}
			}
		})
	}
}

// A record is one line in both formats, and no terminal acts on it.
func TestTextStaysTextInLogs(t *testing.T) {
	t.Parallel()
	for name, text := range attack.Texts() {
		for _, format := range []string{"json", "text"} {
			t.Run(name+" "+format, func(t *testing.T) {
				t.Parallel()
				var b bytes.Buffer
				p := &program{stderr: &b}
				p.logger(LogConfig{Format: format}).WarnContext(context.Background(), "Refused.", "title", text, "error", errors.New(text), "folder", filepath.Join("a", text))
				require.Equal(t, 1, strings.Count(b.String(), "\n"))
				require.True(t, attack.Quiet(b.String()), "%.300q", b.String())
				if format == "json" {
					require.True(t, json.Valid(b.Bytes()))
				}
			})
		}
	}
}
