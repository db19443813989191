package login_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/test/postgres"
)

// Both databases keep what they are told, for all who open them.
func TestStores(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		open func(t *testing.T) func() (*login.Store, error)
	}{
		{"a file", func(t *testing.T) func() (*login.Store, error) {
			path := filepath.Join(t.TempDir(), "login.db")
			return func() (*login.Store, error) { return login.OpenStore(t.Context(), path) }
		}},
		{"PostgreSQL", func(t *testing.T) func() (*login.Store, error) {
			server, name := postgres.Require(t), postgres.Name("login")
			_, err := server.Connect(t, "postgres").Exec(t.Context(), "CREATE DATABASE "+name)
			require.NoError(t, err)
			return func() (*login.Store, error) {
				return login.OpenSharedStore(t.Context(), server.URL(postgres.Admin, server.AdminPassword(), name))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			open := tt.open(t)
			// Five bots start at once.
			stores := make([]*login.Store, 5)
			errs := make([]error, len(stores))
			var all sync.WaitGroup
			for i := range stores {
				all.Go(func() { stores[i], errs[i] = open() })
			}
			all.Wait()
			for i, err := range errs {
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, stores[i].Close()) })
			}

			s := newSite(t, func(o *login.Options) { o.Store = stores[0] })
			s.Store = stores[1]
			who := s.browser(t).login()
			a := s.enrol(t, who)
			found, err := stores[2].Passkeys(t.Context(), "")
			require.NoError(t, err)
			require.Len(t, found, 1)
			require.Equal(t, who.Login, found[0].Login)

			// One answer, sent to five bots.
			state, answer := s.prove(t.Context(), t, who, a, plan)
			outcomes := make([]error, len(stores))
			for i := range stores {
				entry, err := login.New(login.Options{
					URL: s.URL, Keys: s.Keys, Store: stores[i], Now: s.Clock.Now,
					Provider: login.Provider{Issuer: s.Provider.URL, ClientID: "a", ClientSecret: "b"},
				})
				require.NoError(t, err)
				all.Go(func() { _, outcomes[i] = entry.FinishProof(t.Context(), who, plan, state, answer) })
			}
			all.Wait()
			counted := 0
			for _, err := range outcomes {
				if err == nil {
					counted++
					continue
				}
				require.ErrorIs(t, err, login.ErrSpent)
			}
			require.Equal(t, 1, counted)

			n, err := stores[3].Revoke(t.Context(), who.Login, found[0].ID)
			require.NoError(t, err)
			require.Equal(t, 1, n)
			_, err = s.BeginProof(t.Context(), who, plan)
			require.ErrorIs(t, err, login.ErrNoPasskey)
			_, err = stores[0].NewCode(t.Context(), "", time.Now())
			require.Error(t, err)
		})
	}
}

func TestAStoreThatIsAwayLetsNobodyIn(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	b := s.browser(t)
	b.login()
	gone, err := login.OpenStore(t.Context(), filepath.Join(t.TempDir(), "login.db"))
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	other := newSite(t, func(o *login.Options) { o.Store, o.Keys = gone, s.Keys })
	_, _, err = other.browser(t).get(other.URL + "/begin")
	require.ErrorIs(t, err, login.ErrState)
	_, err = login.OpenSharedStore(t.Context(), "postgres://backout:hunter2@127.0.0.1:1/none?connect_timeout=1")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}
