package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	fakegithub "github.com/backout/backout/test/fakes/github"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	realprom "github.com/backout/backout/test/prometheus"
)

// Names and credentials of the world. They open nothing but this world.
const (
	WebhookSecret   = "e2e-webhook-secret"
	RotatedSecret   = "e2e-rotated-secret"
	pagerToken      = "e2e-pagerduty"
	githubToken     = "e2e-github"
	SlackTeam       = "T0SHOP"
	Channel         = "C0INCIDENTS"
	PostmortemsRepo = "shop/postmortems"
)

// The people. Ada and Bo are on call together, Grace owns every service, Sam
// ships releases. The others are known to Slack only.
const (
	Ada       = "U0ADA"
	Bo        = "U0BO"
	Grace     = "U0GRACE"
	Sam       = "U0SAM"
	Stranger  = "U0STRANGER" // a member whom no configuration names
	Guest     = "U0GUEST"
	Gone      = "U0GONE" // on call by the configuration, deactivated in Slack
	Foreigner = "U0FOREIGN"
)

// Windows are the recovery windows of the runbook.
type Windows struct {
	Warmup, Short, Long, Hold, Deadline time.Duration
}

// QuickWindows are as short as the product takes them.
var QuickWindows = Windows{
	Warmup: 200 * time.Millisecond, Short: time.Second, Long: 1500 * time.Millisecond, Hold: time.Second, Deadline: 30 * time.Second,
}

// Options say what world a test needs. The zero value is one service and all
// defaults.
type Options struct {
	// Services are the catalogue; nil means checkout alone. Each runs the bad
	// release, by Sam, after two good ones.
	Services []string
	// SocketMode connects Slack by Socket Mode instead of HTTP.
	SocketMode bool
	// Unlimited switches Slack's rate limits off.
	Unlimited bool
	// PagerDuty configures the stand-in; its Token is overwritten.
	PagerDuty fakepagerduty.Config
	// ReconcileEvery is how often open incidents are reconciled; zero means an
	// hour, which is never.
	ReconcileEvery time.Duration
	// NoWebhooks leaves out the webhook subscription.
	NoWebhooks bool
	// Windows are the recovery windows; zero means QuickWindows.
	Windows Windows
	// Split runs the worker with the Temporal server and the bot as two
	// processes, the bot reaching Temporal through World.TemporalProxy.
	Split bool
	// NotStarted leaves the start of the product to the test.
	NotStarted bool
	// Unmetered are services of which Prometheus has never had a series.
	Unmetered []string
	// SecondOption offers to go two releases back too. Only with one service.
	SecondOption bool
	// Healthy leaves the services on the good release until World.Break.
	Healthy bool
}

// World is everything around one product.
type World struct {
	T    testing.TB
	Dir  string
	Home string
	// Listen is where the product listens, URL its base address.
	Listen, URL string
	// Ledger is the path of the ledger.
	Ledger string

	Releases *Releases
	// NATS stands between the product and the bucket.
	NATS *Proxy
	// Prometheus stands between the product and Metrics.
	Prometheus *Proxy
	Metrics    *realprom.Server
	Slack      *fakeslack.Server
	PagerDuty  *fakepagerduty.Server
	Webhooks   *fakepagerduty.Subscription
	GitHub     *fakegithub.Server
	// Product is the process, or with Split the one with worker and Temporal.
	Product *Child
	// Bot is the process of the bot with Split, and Product without.
	Bot *Child
	// TemporalProxy stands between Bot and Temporal with Split.
	TemporalProxy *Proxy

	opts         Options
	meter        *meter
	temporalPort int
	// workerAddress is where the worker listens with Split.
	workerAddress string
	clients       []client.Client
}

// maxWorlds is how many worlds exist at a time in one test process: each holds
// a Temporal server, a Prometheus and a nats-server.
const maxWorlds = 3

// places bounds the worlds of a test process.
var places = make(chan struct{}, maxWorlds)

// New builds a world and starts the product in it. Everything ends with the
// test.
func New(t testing.TB, opts Options) *World {
	t.Helper()
	if len(opts.Services) == 0 {
		opts.Services = []string{"checkout"}
	}
	if opts.Windows == (Windows{}) {
		opts.Windows = QuickWindows
	}
	places <- struct{}{}
	// The first to be registered is the last to run: by then all is closed.
	t.Cleanup(func() { <-places })
	w := &World{T: t, Dir: t.TempDir(), opts: opts}
	w.Home = filepath.Join(w.Dir, "backout")
	w.Ledger = filepath.Join(w.Data(), "ledger.db")
	require.NoError(t, os.MkdirAll(filepath.Join(w.Home, "runbooks"), 0o700))
	w.Listen = freeAddress(t)
	w.URL = "http://" + w.Listen
	_, port, err := net.SplitHostPort(freeAddress(t))
	require.NoError(t, err)
	_, err = fmt.Sscanf(port, "%d", &w.temporalPort)
	require.NoError(t, err)
	w.openShop()
	w.openStandIns()
	if opts.Split {
		w.TemporalProxy = NewProxy(t, w.temporalAddress())
	}
	w.writeFiles()
	w.openProduct()
	if !opts.NotStarted {
		w.Start()
	}
	return w
}

func (w *World) cleanup(f func() error) {
	w.T.Cleanup(func() {
		if err := f(); err != nil {
			w.T.Errorf("close: %v", err)
		}
	})
}

// openShop starts the bucket, the metrics, and breaks every service.
func (w *World) openShop() {
	t, ctx := w.T, w.T.Context()
	var err error
	w.Releases, err = openReleases(context.WithoutCancel(ctx), filepath.Join(w.Dir, "nats"))
	require.NoError(t, err)
	w.cleanup(w.Releases.Close)
	w.NATS = NewProxy(t, w.Releases.Address())
	w.Metrics, err = realprom.Start(ctx, realprom.Options{Dir: filepath.Join(w.Dir, "prometheus")})
	require.NoError(t, err)
	w.cleanup(w.Metrics.Close)
	w.Prometheus = NewProxy(t, strings.TrimPrefix(w.Metrics.URL(), "http://"))
	for _, s := range w.opts.Services {
		for _, release := range []string{OldRelease, GoodRelease} {
			require.NoError(t, w.Releases.Ship(ctx, s, release, "grace@shop.example"))
		}
	}
	w.meter, err = startMeter(ctx, w.Metrics, w.Releases, slices.DeleteFunc(slices.Clone(w.opts.Services), func(s string) bool { return slices.Contains(w.opts.Unmetered, s) }))
	require.NoError(t, err)
	w.cleanup(w.meter.Close)
	if !w.opts.Healthy {
		w.Break(w.opts.Services...)
	}
}

// Break ships the bad release to services, by Sam, and returns when a page can
// follow.
func (w *World) Break(services ...string) {
	w.T.Helper()
	for _, s := range services {
		require.NoError(w.T, w.Releases.Ship(w.T.Context(), s, BadRelease, "sam@shop.example"))
	}
	// PagerDuty keeps whole seconds: in the second of the change, the harm would
	// seem to have begun before it.
	shipped := time.Now()
	w.Until("the next second", func() bool { return time.Now().Truncate(time.Second).After(shipped) })
}

// PagerDutyID is the pager's identifier of a service.
func PagerDutyID(service string) string {
	return "P" + strings.ToUpper(strings.ReplaceAll(service, "-", ""))
}

func (w *World) openStandIns() {
	t := w.T
	config := w.opts.PagerDuty
	config.Token = pagerToken
	var err error
	w.PagerDuty, err = fakepagerduty.New(config)
	require.NoError(t, err)
	w.cleanup(func() error { w.PagerDuty.Close(); return nil })
	for _, u := range []fakepagerduty.User{
		{ID: "PADA", Name: "Ada Okafor", Email: "ada@shop.example"},
		{ID: "PBO", Name: "Bo Lind", Email: "bo@shop.example"},
		{ID: "PGRACE", Name: "Grace Lindqvist", Email: "grace@shop.example"},
		{ID: "PSAM", Name: "Sam Ruiz", Email: "sam@shop.example"},
		{ID: "PGONE", Name: "Gone", Email: "gone@shop.example"},
		{ID: "PBACKOUT", Name: "Backout", Email: "backout@shop.example"},
	} {
		w.PagerDuty.AddUser(u)
	}
	w.PagerDuty.AddPolicy(fakepagerduty.EscalationPolicy{
		ID: "PPOLICY", Name: "Orders", Levels: []fakepagerduty.Level{{Users: []string{"PADA", "PBO", "PGONE"}}, {Users: []string{"PGRACE"}}},
	})
	for _, s := range w.opts.Services {
		w.PagerDuty.AddService(fakepagerduty.Service{ID: PagerDutyID(s), Name: s, PolicyID: "PPOLICY"})
	}
	if !w.opts.NoWebhooks {
		w.Webhooks = w.PagerDuty.Subscribe(fakepagerduty.SubscriptionOptions{URL: w.URL + "/webhooks/pagerduty", Secrets: []string{WebhookSecret}})
	}
	w.GitHub, err = fakegithub.New(fakegithub.Config{Tokens: map[string]string{githubToken: "backout-bot"}})
	require.NoError(t, err)
	w.cleanup(func() error { w.GitHub.Close(); return nil })
	w.GitHub.AddRepo(PostmortemsRepo)
	w.Slack, err = fakeslack.Start(context.WithoutCancel(t.Context()), fakeslack.Options{
		TeamID: SlackTeam, TeamName: "Shop", TeamDomain: "shop", BotName: "Backout",
		Users: []fakeslack.User{
			{ID: Ada, Name: "ada", RealName: "Ada Okafor", Email: "ada@shop.example"},
			{ID: Bo, Name: "bo", RealName: "Bo Lind", Email: "bo@shop.example"},
			{ID: Grace, Name: "grace", RealName: "Grace Lindqvist", Email: "grace@shop.example"},
			{ID: Sam, Name: "sam", RealName: "Sam Ruiz", Email: "sam@shop.example"},
			{ID: Stranger, Name: "stranger", RealName: "A Stranger", Email: "stranger@elsewhere.example"},
			{ID: Guest, Name: "guest", RealName: "A Guest", Email: "guest@shop.example", IsRestricted: true},
			{ID: Gone, Name: "gone", RealName: "Gone", Email: "gone@shop.example"},
			{ID: Foreigner, Name: "foreigner", RealName: "A Foreigner", Email: "foreigner@shop.example", TeamID: "T0OTHER"},
		},
		Channels: []fakeslack.Channel{{
			ID: Channel, Name: "incidents",
			Members: []string{fakeslack.DefaultBotUserID, Ada, Bo, Grace, Sam, Stranger, Guest, Gone, Foreigner},
		}},
		Limits: fakeslack.Limits{Off: w.opts.Unlimited},
	})
	require.NoError(t, err)
	w.cleanup(w.Slack.Close)
}

// openProduct prepares the child or children.
func (w *World) openProduct() {
	config := filepath.Join(w.Home, "backout.yaml")
	if !w.opts.Split {
		w.Product = newChild(w.T, w.Dir, "backout", w.Listen, "serve", "--config", config)
		w.Bot = w.Product
		return
	}
	w.Product = newChild(w.T, w.Dir, "worker", w.workerListen(), "serve", "--role", "worker", "--config", filepath.Join(w.Home, "worker.yaml"))
	w.Bot = newChild(w.T, w.Dir, "bot", w.Listen, "serve", "--role", "bot", "--config", config)
}

// Start starts the product and, in HTTP mode, tells Slack where it is.
func (w *World) Start() {
	w.T.Helper()
	require.NoError(w.T, w.Product.Start(w.T.Context()))
	if w.opts.Split {
		require.NoError(w.T, w.Bot.Start(w.T.Context()))
	}
	if !w.opts.SocketMode {
		require.NoError(w.T, w.Slack.SetRequestURLs(w.T.Context(), fakeslack.RequestURLs{
			Commands: w.URL + "/slack/commands", Interactivity: w.URL + "/slack/interactions", Events: w.URL + "/slack/events",
		}))
		return
	}
	ctx, cancel := context.WithTimeout(w.T.Context(), patience)
	defer cancel()
	require.NoError(w.T, w.Slack.WaitFor(ctx, func() bool { return w.Slack.Sockets() > 0 }), "the product opens no socket")
}

// Data is the product's data folder.
func (w *World) Data() string { return filepath.Join(w.Home, "data") }

// Signal makes Prometheus see something else of a service.
func (w *World) Signal(service string, s Signal) { w.meter.set(service, s) }

// temporalAddress is where the embedded Temporal listens.
func (w *World) temporalAddress() string { return fmt.Sprintf("127.0.0.1:%d", w.temporalPort) }

// freeAddress is a loopback address that nothing listens on. It lies below the
// range from which outgoing connections take their ports, so that it stays free
// until a child listens on it again.
func freeAddress(t testing.TB) string {
	t.Helper()
	const first, last = 12_000, 19_999
	start := first + int(time.Now().UnixNano()/1000)%(last-first)
	for i := range last - first {
		port := first + (start-first+i)%(last-first)
		ports.Lock()
		taken := ports.taken[port]
		ports.taken[port] = true
		ports.Unlock()
		if taken {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		return l.Addr().String()
	}
	t.Fatal(errors.New("find a free port: there is none"))
	return ""
}
