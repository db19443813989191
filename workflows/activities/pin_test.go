package activities_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// room is a channel in which one message stands, and in which one person is known.
type room struct {
	activities.Channel

	message incident.ChannelMessage
	err     error
}

func (r room) Message(context.Context, string, string) (incident.ChannelMessage, error) {
	return r.message, r.err
}

// only is a directory of one person.
type only struct{ user string }

func (o only) Identify(_ context.Context, a incident.Actor) (incident.Person, error) {
	switch a.SlackUser {
	case o.user:
		return incident.Person{ID: "ada@example.com", Name: "Ada"}, nil
	case "UAWAY":
		return incident.Person{}, errors.New("no answer")
	default:
		return incident.Person{}, &incident.NoIdentityError{Actor: a, Why: "the account is a guest"}
	}
}

// speechless is a channel that shows no messages.
type speechless struct{ activities.Channel }

// final reports whether an error of an activity is not tried again.
func final(t *testing.T, err error) bool {
	t.Helper()
	var refusal *temporal.ApplicationError
	require.ErrorAs(t, err, &refusal)
	return refusal.NonRetryable()
}

func TestReadPin(t *testing.T) {
	t.Parallel()
	written := time.Date(2026, 3, 14, 3, 12, 8, 0, time.UTC)
	by := func(users ...string) incident.ChannelMessage {
		return incident.ChannelMessage{Author: "Bob", Text: "the key is ghp_0123456789abcdefghijABCDEFGHIJ012345 I think", At: written, URL: "https://chat.example.com/p1", PinnedBy: users}
	}
	own := by("UADA")
	own.Own = true
	long := by("UADA")
	long.Text = strings.Repeat("é", 5000)
	for range 10 {
		long.Images = append(long.Images, incident.PinImage{Name: strings.Repeat("n", 500), URL: "https://chat.example.com/f"})
	}
	for _, tt := range []struct {
		name    string
		room    activities.Channel
		user    string
		pinned  bool
		missing bool
		by      string
		denied  string
		final   bool
		wrong   bool
	}{
		{name: "pinned", room: room{message: by("UBOB", "UADA")}, user: "UADA", pinned: true, by: "Ada"},
		{name: "by somebody else only", room: room{message: by("UBOB")}, user: "UADA", pinned: true, denied: "does not say that you pinned it"},
		{name: "by a guest", room: room{message: by("UEVE")}, user: "UEVE", pinned: true, denied: "only known, active people"},
		{name: "by nobody any more", room: room{message: by()}, user: "UADA", denied: "does not say"},
		{name: "an edit", room: room{message: by("UADA")}, pinned: true},
		{name: "Backout's own", room: room{message: own}, user: "UADA", denied: "in the timeline already"},
		{name: "deleted", room: room{err: fmt.Errorf("read: %w", driver.ErrNotFound)}, user: "UADA", missing: true},
		{name: "long", room: room{message: long}, user: "UADA", pinned: true, by: "Ada"},
		{name: "nobody can be asked", room: room{message: by("UAWAY")}, user: "UAWAY", wrong: true},
		{name: "no answer", room: room{err: errors.New("no answer")}, user: "UADA", wrong: true},
		{name: "no scope", room: room{err: fmt.Errorf("read: %w", driver.ErrDenied)}, user: "UADA", wrong: true, final: true},
		{name: "no messages are shown", room: speechless{}, user: "UADA", wrong: true, final: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := &activities.Activities{Channel: tt.room, Directory: only{"UADA"}}
			q := incident.PinRequest{EventID: "e1", Channel: "C1", TS: "100.1"}
			if tt.user != "" {
				q.Actor = incident.Actor{Via: incident.ViaSlack, SlackTeam: "T1", SlackUser: tt.user}
			}
			got, err := a.ReadPin(t.Context(), q)
			if tt.wrong {
				require.Error(t, err)
				require.Equal(t, tt.final, final(t, err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, !tt.missing, got.Found)
			require.Equal(t, tt.pinned, got.Pinned)
			require.Equal(t, tt.by, got.Pin.By)
			require.Contains(t, got.Denied, tt.denied)
			require.Equal(t, tt.denied == "", got.Denied == "")
			require.NotContains(t, got.Pin.Text, "ghp_0123", "a secret stays where it is")
			require.LessOrEqual(t, len([]rune(got.Pin.Text)), incident.MaxPinText)
			require.LessOrEqual(t, len(got.Pin.Images), incident.MaxPinImages)
		})
	}
	_, err := (&activities.Activities{}).ReadPin(t.Context(), incident.PinRequest{EventID: "e", Channel: "general", TS: "1.1"})
	require.True(t, final(t, err))
}

func TestDueIsAWorkingDay(t *testing.T) {
	t.Parallel()
	at := func(day int) time.Time { return time.Date(2026, 3, day, 3, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name string
		days int
		from time.Time
		want string
	}{
		{"over a weekend", 5, at(12), "2026-03-19T17:00:00Z"},
		{"from a Saturday", 1, at(14), "2026-03-16T17:00:00Z"},
		{"the next day", 1, at(10), "2026-03-11T17:00:00Z"},
		{"from a far zone", 1, at(10).In(time.FixedZone("far", -9*3600)), "2026-03-11T17:00:00Z"},
		{"never", 0, at(10), "0001-01-01T00:00:00Z"},
		{"nobody knows since when", 5, time.Time{}, "0001-01-01T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, activities.FollowUp{WorkingDays: tt.days}.Due(tt.from).Format(time.RFC3339))
		})
	}
}
