package incident_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/incident"
)

func TestPinRequestIsCheckedByForm(t *testing.T) {
	t.Parallel()
	good := incident.PinRequest{EventID: "e1", Channel: "C0123", TS: "1700000000.000100"}
	by := good
	by.Actor = incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: "U1"}
	for _, q := range []incident.PinRequest{good, by} {
		require.NoError(t, q.Validate())
	}
	for name, spoil := range map[string]func(*incident.PinRequest){
		"no event":               func(q *incident.PinRequest) { q.EventID = "" },
		"a long event":           func(q *incident.PinRequest) { q.EventID = strings.Repeat("e", 256) },
		"no channel":             func(q *incident.PinRequest) { q.Channel = "" },
		"a channel by name":      func(q *incident.PinRequest) { q.Channel = "incidents" },
		"a person's account":     func(q *incident.PinRequest) { q.Channel = "U0123" },
		"no message":             func(q *incident.PinRequest) { q.TS = "" },
		"a message that is none": func(q *incident.PinRequest) { q.TS = "1700000000" },
		"half an actor":          func(q *incident.PinRequest) { q.Actor = incident.Actor{Via: incident.ViaSlack} },
	} {
		q := good
		spoil(&q)
		require.Error(t, q.Validate(), name)
	}
}
