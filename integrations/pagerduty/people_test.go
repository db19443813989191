package pagerduty_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	"github.com/backout/backout/workflows/incident"
)

func TestOnCall(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	people, err := c.OnCall(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Equal(t, []incident.Person{
		{ID: "ada@example.com", Name: "Ada Lovelace", Email: "ada@example.com", PagerDutyID: "PADA"},
		{ID: "bob@example.com", Name: "Bob Kahn", Email: "bob@example.com", PagerDutyID: "PBOB"},
	}, people, "each once, and nobody whose shift comes later")
	duties, err := c.Duties(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Len(t, duties, 2)
	require.Equal(t, []int{1, 2}, []int{duties[0].Level, duties[1].Level})
	require.Equal(t, "PBOB", duties[1].Person.PagerDutyID)
	people, err = c.OnCall(t.Context(), "PBARE")
	require.NoError(t, err)
	require.Empty(t, people)
	_, err = c.OnCall(t.Context(), "PNONE")
	require.ErrorIs(t, err, driver.ErrNotFound)
	s.RemoveUser("PADA")
	people, err = c.OnCall(t.Context(), "PSHOP")
	require.NoError(t, err)
	require.Len(t, people, 1, "somebody who left is not on call")
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s := world(t)
	c := connect(t, s)
	p, err := c.User(t.Context(), "PADA")
	require.NoError(t, err)
	require.Equal(t, "ada@example.com", p.Email)
	p, err = c.UserByEmail(t.Context(), "BACKOUT@example.com")
	require.NoError(t, err)
	require.Equal(t, "PBOT", p.PagerDutyID, "an address that only contains it is another person")
	for _, email := range []string{"nobody@example.com", "example.com", ""} {
		_, err = c.UserByEmail(t.Context(), email)
		require.ErrorIs(t, err, incident.ErrNoIdentity, email)
	}
	s.AddUser(fakepagerduty.User{ID: "PADA2", Name: "Twin", Email: "ada@example.com"})
	_, err = c.UserByEmail(t.Context(), "ada@example.com")
	require.ErrorIs(t, err, incident.ErrNoIdentity)
}
