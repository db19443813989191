package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/cmd/internal/embeddedtemporal"
	"github.com/backout/backout/cmd/internal/product"
	"github.com/backout/backout/cmd/sandbox/internal/shop"
	fakegithub "github.com/backout/backout/test/fakes/github"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	fakeslack "github.com/backout/backout/test/fakes/slack"
	realprom "github.com/backout/backout/test/prometheus"
)

//go:embed world
var worldFiles embed.FS

// How the shop is watched.
const (
	scrapeInterval = 500 * time.Millisecond
	ordersASecond  = 40
	alertEvery     = 500 * time.Millisecond
	alertFor       = 2 * time.Second
)

// Names and credentials of the stand-ins. They open nothing but this world.
const (
	webhookSecret   = "sandbox-webhook-secret"
	pagerToken      = "sandbox-pagerduty" //nolint:gosec // Opens the stand-in only.
	routingKey      = "sandbox-routing-key"
	githubToken     = "sandbox-github"               //nolint:gosec // Opens the stand-in only.
	consoleToken    = "sandbox-console-token-of-ada" //nolint:gosec // Opens this world only.
	channelID       = "C0INCIDENTS"
	postmortemsRepo = "shop/postmortems"
)

// world is everything that runs in the sandbox.
type world struct {
	dir      string
	shop     *shop.Shop
	releases releaser
	metrics  *realprom.Server
	slack    *fakeslack.Server
	pager    *fakepagerduty.Server
	github   *fakegithub.Server
	// charts says that the stand-in for GitHub keeps pictures.
	charts    bool
	backout   *product.Server
	control   string
	startedAt time.Time
	closers   []func() error
}

// releaser decides which release a service runs.
type releaser interface {
	Ship(ctx context.Context, service, version, author string) error
	Pointed(ctx context.Context, service string) (string, error)
	Follow(ctx context.Context, s *shop.Shop) error
	Close() error
}

// build starts the world in the order in which its parts need each other.
func build(ctx context.Context, o options, log *slog.Logger) (w *world, err error) {
	w = &world{startedAt: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "backout-sandbox-"); err != nil {
		return w, fmt.Errorf("create folder: %w", err)
	}
	w.onClose(func() error { return os.RemoveAll(w.dir) })
	if err := w.openShop(ctx, o); err != nil {
		return w, err
	}
	listen, err := freeAddress(ctx)
	if err != nil {
		return w, err
	}
	door, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return w, fmt.Errorf("listen for the shop's page: %w", err)
	}
	w.onClose(func() error { _ = door.Close(); return nil }) // Closed already if it was served.
	w.control = "http://" + door.Addr().String()
	if err := w.openStandIns(ctx, listen); err != nil {
		return w, err
	}
	if err := w.openProduct(ctx, listen, o, log); err != nil {
		return w, err
	}
	monitor := &shop.Monitor{
		PrometheusURL: w.metrics.URL(), EventsURL: w.pager.URL(), RoutingKey: routingKey, Every: alertEvery, For: alertFor, Log: log,
	}
	monitoring, stop := context.WithCancel(context.WithoutCancel(ctx))
	go monitor.Run(monitoring)
	w.onClose(func() error { stop(); return nil })
	w.serve(door)
	return w, nil
}

func (w *world) onClose(f func() error) { w.closers = append(w.closers, f) }

// openShop starts the services, their releases, customers and Prometheus.
func (w *world) openShop(ctx context.Context, o options) error {
	var err error
	if w.shop, err = shop.Open(ctx); err != nil {
		return err
	}
	w.onClose(w.shop.Close)
	if w.releases, err = openReleases(ctx, o, w.dir); err != nil {
		return err
	}
	w.onClose(w.releases.Close)
	for _, version := range []string{"v40", shop.GoodRelease} {
		if err := w.releases.Ship(ctx, shop.Checkout, version, "grace@shop.example"); err != nil {
			return err
		}
	}
	if err := w.releases.Follow(context.WithoutCancel(ctx), w.shop); err != nil {
		return err
	}
	w.metrics, err = realprom.Start(ctx, realprom.Options{Dir: filepath.Join(w.dir, "prometheus"), ScrapeInterval: scrapeInterval})
	if err != nil {
		return fmt.Errorf("start Prometheus: %w", err)
	}
	w.onClose(w.metrics.Close)
	for _, name := range shop.Names() {
		address := strings.TrimPrefix(w.shop.Service(name).URL, "http://")
		if err := w.metrics.AddTarget(realprom.Target{Job: "shop", Address: address}); err != nil {
			return err
		}
	}
	w.shop.Load(context.WithoutCancel(ctx), ordersASecond)
	return nil
}

// openStandIns starts PagerDuty, GitHub and Slack with the shop's people.
func (w *world) openStandIns(ctx context.Context, listen string) error {
	var err error
	w.pager, err = fakepagerduty.New(fakepagerduty.Config{Token: pagerToken, RoutingKeys: map[string]string{routingKey: "PCHECKOUT"}})
	if err != nil {
		return err
	}
	w.onClose(func() error { w.pager.Close(); return nil })
	for _, u := range []fakepagerduty.User{
		{ID: "PADA", Name: "Ada Okafor", Email: "ada@shop.example"},
		{ID: "PGRACE", Name: "Grace Lindqvist", Email: "grace@shop.example"},
		{ID: "PSAM", Name: "Sam Ruiz", Email: "sam@shop.example"},
		{ID: "PBACKOUT", Name: "Backout", Email: "backout@shop.example"},
	} {
		w.pager.AddUser(u)
	}
	w.pager.AddPolicy(fakepagerduty.EscalationPolicy{ID: "PPOLICY", Name: "Orders", Levels: []fakepagerduty.Level{{Users: []string{"PADA"}}, {Users: []string{"PGRACE"}}}})
	for id, name := range map[string]string{"PCHECKOUT": shop.Checkout, "PSTOREFRONT": shop.Storefront, "PPAYMENTS": shop.Payments} {
		w.pager.AddService(fakepagerduty.Service{ID: id, Name: name, PolicyID: "PPOLICY"})
	}
	w.pager.Subscribe(fakepagerduty.SubscriptionOptions{URL: "http://" + listen + "/webhooks/pagerduty", Secrets: []string{webhookSecret}})

	if w.github, err = fakegithub.New(fakegithub.Config{Tokens: map[string]string{githubToken: "backout-bot"}}); err != nil {
		return err
	}
	w.onClose(func() error { w.github.Close(); return nil })
	for _, repo := range []string{postmortemsRepo, "shop/checkout", "shop/payments", "shop/storefront"} {
		w.github.AddRepo(repo)
	}
	if err := w.keepCharts(); err != nil { //nolint:contextcheck // The stand-in bounds its Git by itself.
		return err
	}
	return w.openSlack(ctx, console(listen))
}

// keepCharts has the stand-in for GitHub keep pictures, if there is a Git on this
// machine for it to keep them with.
func (w *world) keepCharts() error {
	if _, err := exec.LookPath("git"); err != nil {
		return nil //nolint:nilerr // Postmortems name the charts then, and do not show them.
	}
	if err := w.github.UseGit(postmortemsRepo, filepath.Join(w.dir, "postmortems.git")); err != nil {
		return err
	}
	if _, err := w.github.Push(postmortemsRepo, fakegithub.Push{
		Branch: "main", Author: "grace", Message: "Begin", Write: map[string]string{"README.md": "# Postmortems\n\nThey are in the issues.\n"},
	}); err != nil {
		return err
	}
	w.charts = true
	return nil
}

// console is the address of Backout's console, with Ada's token as the password.
func console(listen string) string { return "http://ada:" + consoleToken + "@" + listen + "/incidents" }

func (w *world) openSlack(ctx context.Context, console string) error {
	var err error
	w.slack, err = fakeslack.Start(context.WithoutCancel(ctx), fakeslack.Options{
		TeamID: "T0SHOP", TeamName: "Shop", TeamDomain: "shop", BotName: "Backout",
		Users: []fakeslack.User{
			{ID: "U0ADA", Name: "ada", RealName: "Ada Okafor", Email: "ada@shop.example", Title: "On call for checkout"},
			{ID: "U0GRACE", Name: "grace", RealName: "Grace Lindqvist", Email: "grace@shop.example", Title: "Owner of checkout"},
			{ID: "U0SAM", Name: "sam", RealName: "Sam Ruiz", Email: "sam@shop.example", Title: "Ships releases"},
			{ID: "U0EVE", Name: "eve", RealName: "Eve", Email: "eve@elsewhere.example", Title: "Guest", IsRestricted: true},
		},
		Channels: []fakeslack.Channel{
			{ID: channelID, Name: "incidents", Topic: "Where incidents go", Members: []string{fakeslack.DefaultBotUserID, "U0ADA", "U0GRACE", "U0SAM", "U0EVE"}},
		},
		Events: []string{"app_mention", "message.channels", "reaction_added", "reaction_removed"},
		Guide:  guide,
		Panels: []fakeslack.Panel{
			{Title: "The shop: break it here", URL: w.control},
			{Title: "Backout's console", URL: console},
			{Title: "PagerDuty", URL: w.pager.URL()},
			{Title: "GitHub: the postmortem", URL: w.github.URL()},
		},
	})
	if err != nil {
		return fmt.Errorf("start Slack stand-in: %w", err)
	}
	w.onClose(w.slack.Close)
	return nil
}

// openProduct writes the configuration into the folder and starts Backout.
func (w *world) openProduct(ctx context.Context, listen string, o options, log *slog.Logger) error {
	config, err := w.writeConfig(listen, o)
	if err != nil {
		return err
	}
	w.backout, err = product.Start(ctx, product.Options{Config: config, Role: product.RoleAll, Log: log, Start: embeddedtemporal.Start})
	if err != nil {
		return fmt.Errorf("start Backout: %w", err)
	}
	w.onClose(func() error { return w.backout.Stop(context.WithoutCancel(ctx)) })
	base := "http://" + listen
	return w.slack.SetRequestURLs(ctx, fakeslack.RequestURLs{
		Commands: base + "/slack/commands", Interactivity: base + "/slack/interactions", Events: base + "/slack/events",
	})
}

func (w *world) writeConfig(listen string, o options) (product.Config, error) {
	home := filepath.Join(w.dir, "backout")
	if err := os.MkdirAll(filepath.Join(home, "runbooks"), 0o700); err != nil {
		return product.Config{}, err
	}
	runbook := "release.yaml"
	if o.kube != "" {
		runbook = "kube.yaml"
	}
	files := map[string]string{
		"slack-bot-token": w.slack.BotToken(), "slack-signing-secret": w.slack.SigningSecret(),
		"pagerduty-token": pagerToken, "pagerduty-webhook-secret": webhookSecret, "github-token": githubToken,
		"api-tokens": "ada " + consoleToken + "\n",
	}
	for from, to := range map[string]string{"backout.yaml": "backout.yaml", "catalog-info.yaml": "catalog-info.yaml", runbook: "runbooks/" + runbook} {
		b, err := fs.ReadFile(worldFiles, "world/"+from)
		if err != nil {
			return product.Config{}, err
		}
		files[to] = string(b)
	}
	files["backout.yaml"] += "systems:\n" +
		w.system() +
		fmt.Sprintf("  - { name: metrics, type: prometheus, settings: { url: %q, lookback: 2s } }\n", w.metrics.URL()) +
		fmt.Sprintf("  - { name: github, type: github, settings: { url: %q, token_file: %q } }\n", w.github.URL(), filepath.Join(home, "github-token"))
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(home, name), []byte(content), 0o600); err != nil {
			return product.Config{}, err
		}
	}
	return product.LoadConfig(filepath.Join(home, "backout.yaml"), []string{
		"BACKOUT_LISTEN=" + listen, "BACKOUT_SLACK_API_URL=" + w.slack.APIURL(),
		"BACKOUT_PAGERDUTY_API_URL=" + w.pager.URL(), "BACKOUT_GITHUB_API_URL=" + w.github.URL(),
		"BACKOUT_GITHUB_CHARTS=" + strconv.FormatBool(w.charts),
	})
}

// Close ends the world in the reverse order of its start.
func (w *world) Close() error {
	var errs []error
	for _, v := range slices.Backward(w.closers) {
		errs = append(errs, v())
	}
	w.closers = nil
	return errors.Join(errs...)
}

// freeAddress is a loopback address that nothing listens on.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
