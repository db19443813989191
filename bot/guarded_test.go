package bot_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/workflows/incident"
)

// guardedService is the service whose incidents offer guardedOption too.
const guardedService = "orders"

// guardedOption counts with a second proof only.
func guardedOption() incident.Option {
	return incident.Option{
		ID: "o2", Title: "Restore the orders table to 02:00", Digest: planDigest("o2"), Tier: incident.TierCommanderAndOwner, StepUp: true,
		TierReason: "It can not be undone, and other services read the data.", Risk: "Orders since the snapshot are lost.",
		ExpectedTime: 12 * time.Minute, WontRevert: []string{"orders placed since 02:00", "e-mails that were sent", "payments that were captured"},
		Plan: incident.Plan{Service: guardedService, Strategy: incident.StrategyRestore, Actions: []incident.Action{
			{
				Kind: "kubernetes.workload", Reversible: true, Target: incident.Target{System: "prod", Path: "orders/deployment/orders"},
				From: incident.State{Label: "orders:v42", Revision: "8"}, To: incident.State{Label: "orders:v41", Revision: "7"},
			},
			{
				Kind: "postgres.restore", Target: incident.Target{System: "orders-db", Path: "public.orders"},
				From: incident.State{Label: "now"}, To: incident.State{Label: "snapshot of 02:00", Revision: "a41f"},
			},
		}},
		Radius: incident.BlastRadius{
			Services:     []incident.Reach{{Name: guardedService, Reason: "the plan changes it"}},
			Dependents:   []incident.Reach{{Name: "checkout", Reason: "it calls orders"}, {Name: "invoices", Reason: "it calls orders"}},
			SharedData:   []incident.Reach{{Name: "orders-db", Reason: "invoices reads it too"}},
			Irreversible: []incident.Reach{{Name: "public.orders", Reason: "a restore has no inverse"}},
		},
		Preflight: []incident.Preflight{
			{Name: "snapshot exists", Result: incident.PreflightOK, Reason: "It was verified at 02:10."},
			{Name: "deploy in flight", Result: incident.PreflightWarning, Reason: "A deploy of invoices is running."},
		},
	}
}

// shifted is the wall clock, moved by tests.
type shifted struct {
	mu sync.Mutex
	by time.Duration
}

// Now is the moved time.
func (c *shifted) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.by)
}

func (c *shifted) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by += d
}

// gatehouse is a console that people log in to.
type gatehouse struct {
	URL   string
	Clock *shifted
	Store *login.Store
	Log   *journal
}

// newGatehouse serves one. provider is asked once its address is known.
func newGatehouse(t *testing.T, provider func(redirect string) login.Provider) *gatehouse {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	t.Cleanup(server.Close)
	g := &gatehouse{URL: strings.Replace("http://"+server.Listener.Addr().String(), "127.0.0.1", "localhost", 1), Clock: &shifted{}}
	var err error
	g.Store, err = login.OpenStore(t.Context(), filepath.Join(t.TempDir(), "login.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Store.Close()) })
	keys, err := login.ParseKeys(login.NewKeyFile())
	require.NoError(t, err)
	entry, err := login.New(login.Options{URL: g.URL, Keys: keys, Store: g.Store, Now: g.Clock.Now, Provider: provider(g.URL + login.CallbackPath)})
	require.NoError(t, err)
	var handler http.Handler
	handler, _, g.Log = serve(t, bot.Options{Access: access(t), Login: entry, Now: g.Clock.Now})
	server.Config.Handler = handler
	server.Start()
	return g
}

// guarded begins an incident that offers the guarded option.
func guarded(t *testing.T) string {
	t.Helper()
	return guardedIn(t, "")
}

func guardedIn(t *testing.T, channel string) string {
	t.Helper()
	p := page(unique("Q"), "first", incident.PageTriggered)
	p.Service, p.Channel, p.Title = guardedService, channel, "orders: half of all writes fail"
	_, err := bot.NewGateway(temporalClient, bot.Unsigned{}).Page(within(t), p)
	require.NoError(t, err)
	key := incident.Key(p.Source, p.IncidentID)
	t.Cleanup(func() {
		_ = temporalClient.TerminateWorkflow(within(t), incident.WorkflowID(key), "", "the test is over")
	})
	return key
}
