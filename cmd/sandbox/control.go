package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/cmd/sandbox/internal/shop"
	fakegithub "github.com/backout/backout/test/fakes/github"
)

// guide stands above the channel in the Slack stand-in.
const guide = `1. Open "The shop" in the sidebar and ship checkout v42. A third of the orders will fail.
2. Within ten seconds the monitor pages, and Backout posts a card here.
3. You are Ada, on call for checkout: press the green button. Try it as Eve or Sam first.
4. Watch the card: evidence, the rollback, and the verdict from real PromQL.
5. The postmortem is linked on the card when the shop has recovered.`

//go:embed control.html
var controlPage string

var controlTemplate = template.Must(template.New("control").Parse(controlPage))

// serviceState is one row of the page.
type serviceState struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Bad     bool    `json:"bad"`
	Errors  float64 `json:"errors"`
	Rate    float64 `json:"rate"`
}

// serve serves the page on which the shop can be seen and broken.
func (w *world) serve(l net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.serveControl)
	mux.HandleFunc("GET /state", w.serveState)
	mux.HandleFunc("POST /ship", w.serveShip)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }()
	w.onClose(srv.Close)
}

func (w *world) serveControl(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = controlTemplate.Execute(rw, map[string]any{"Addresses": w.addresses(), "Good": shop.GoodRelease, "Bad": shop.BadRelease})
}

func (w *world) serveState(rw http.ResponseWriter, r *http.Request) {
	var out []serviceState
	for _, name := range shop.Names() {
		v := w.shop.Service(name).Version()
		s := serviceState{Name: name, Version: v, Bad: v == shop.BadRelease}
		s.Rate, _ = w.query(r.Context(), fmt.Sprintf(`sum(rate(shop_requests_total{service=%q}[5s]))`, name))
		s.Errors, _ = w.query(r.Context(), fmt.Sprintf(`(sum(rate(shop_requests_total{service=%q,code=~"5.."}[5s])) or vector(0)) / sum(rate(shop_requests_total{service=%q}[5s]))`, name, name))
		out = append(out, s)
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(out)
}

// serveShip ships a release of checkout. Only the page itself may ask.
func (w *world) serveShip(rw http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" && origin != w.control {
		http.Error(rw, "only the shop's own page may ship", http.StatusForbidden)
		return
	}
	version := r.FormValue("version")
	if !slices.Contains([]string{shop.GoodRelease, shop.BadRelease}, version) {
		http.Error(rw, "unknown release", http.StatusBadRequest)
		return
	}
	if err := w.ship(r.Context(), version); err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}

// ship does what the shop's pipeline does: a deployment on GitHub, then the
// release itself, by Sam.
func (w *world) ship(ctx context.Context, version string) error {
	w.github.AddDeployment("shop/checkout", fakegithub.Deployment{
		Ref: version, SHA: shaOf(version), Environment: "production", Description: "checkout " + version, Creator: "sam", Production: true,
		Statuses: []fakegithub.DeploymentStatus{{State: "success"}},
	})
	return w.releases.Ship(ctx, shop.Checkout, version, "sam@shop.example")
}

// shaOf is a commit hash for a release, always the same.
func shaOf(version string) string {
	n, _ := strconv.Atoi(version[1:])
	return fmt.Sprintf("%040x", 0xbac0_0000+n)
}

var errNoAnswer = errors.New("prometheus has no single answer")

// query asks Prometheus for one number.
func (w *world) query(ctx context.Context, q string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.metrics.URL()+"/api/v1/query", nil)
	if err != nil {
		return 0, err
	}
	values := req.URL.Query()
	values.Set("query", q)
	req.URL.RawQuery = values.Encode()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if len(answer.Data.Result) != 1 {
		return 0, errNoAnswer
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v != v { //nolint:gocritic // NaN is not itself.
		return 0, errNoAnswer
	}
	return v, nil
}

// address is one thing to open in a browser.
type address struct{ Title, URL string }

func (w *world) addresses() []address {
	list := []address{
		{"Slack stand-in: channel, card, buttons", w.slack.URL()},
		{"The shop: break it here", w.control},
		{"PagerDuty stand-in", w.pager.URL()},
		{"GitHub stand-in: the postmortem", w.github.URL()},
		{"Backout's console", console(strings.TrimPrefix(w.backout.URL, "http://"))},
		{"Prometheus API", w.metrics.URL()},
	}
	if w.backout.TemporalUI != "" {
		list = append(list, address{"Temporal Web UI", "http://" + w.backout.TemporalUI})
	}
	return list
}
