package golden_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

var update = flag.Bool("update", false, "draw the postmortems again")

// The postmortems of two incidents of the sandbox, as they were when their views were
// recorded with "go run ./cmd/sandbox -auto -view FILE", and with -stuck. Times and
// digests are those of that run; ports are taken out of addresses.
func TestPostmortems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		verdict incident.Verdict
		want    []string
	}{
		{"postmortem-recovered", incident.VerdictRecovered, []string{
			"🟢 Verdict: recovered", "📌 “it is the discounts of v42", "(cause at its source)", "**Resolved: [the product",
		}},
		{"postmortem-stuck", incident.VerdictNotRecovered, []string{
			"**BREAK-GLASS**", "can not refuse", "chosen, alone and past the policy", "did not bring the service back", "(break-glass review)",
			"(cause not found)", "📌 “payments answers 503",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(filepath.Join(".", tt.name+".json"))
			require.NoError(t, err)
			require.NotContains(t, string(raw), "127.0.0.1")
			var v incident.View
			dec := json.NewDecoder(strings.NewReader(string(raw)))
			dec.DisallowUnknownFields()
			require.NoError(t, dec.Decode(&v))
			require.Equal(t, tt.verdict, v.LastRollback().Recovery.Verdict)
			require.Equal(t, incident.PhaseClosed, v.Phase)
			title, body := views.Postmortem(v)
			for _, want := range tt.want {
				require.Contains(t, body, want)
			}
			// Every line of the timeline leads to its record, and customers are told of
			// nothing that is inside.
			_, timeline, _ := strings.Cut(body, "\n## Timeline\n")
			timeline, _, _ = strings.Cut(timeline, "\n## ")
			require.Equal(t, strings.Count(timeline, "\n| ")-2, strings.Count(timeline, v.ConsoleURL+"#event-"))
			_, public, _ := strings.Cut(body, "\n## Public summary\n")
			for _, inside := range []string{"checkout", "payments", "v41", "v42", "Ada", "Grace", "Sam", "nats", "http"} {
				require.NotContains(t, public, inside)
			}
			got := "# " + title + "\n\n" + body
			path := filepath.Join(".", tt.name+".md")
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err, "run the test with -update to draw it")
			require.Equal(t, string(want), got)
		})
	}
}
