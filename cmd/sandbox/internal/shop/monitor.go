package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Monitor is the alerting of the shop: it asks Prometheus for the share of
// failed orders and pages through the Events API when it stays high.
type Monitor struct {
	// PrometheusURL and EventsURL are base addresses.
	PrometheusURL, EventsURL string
	// RoutingKey is the integration key of the paged service.
	RoutingKey string
	// Every is the interval of evaluation, For how long it must be firing.
	Every, For time.Duration
	Log        *slog.Logger
}

// The alert: more than 5 % of checkout's orders failed in the last 10 seconds.
const (
	alertThreshold = 0.05
	alertQuery     = `sum(rate(shop_requests_total{service="checkout",code=~"5.."}[10s])) / sum(rate(shop_requests_total{service="checkout"}[10s]))`
	dedupKey       = "shop-checkout-errors"
)

// Run evaluates until the context ends.
func (m *Monitor) Run(ctx context.Context) {
	tick := time.NewTicker(m.Every)
	defer tick.Stop()
	var since time.Time
	paged := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ratio, ok := m.ratio(ctx)
		switch {
		case !ok:
		case ratio <= alertThreshold:
			since = time.Time{}
			if paged && m.send(ctx, "resolve", ratio) == nil {
				paged = false
			}
		case since.IsZero():
			since = time.Now()
		case !paged && time.Since(since) >= m.For:
			if err := m.send(ctx, "trigger", ratio); err != nil {
				m.Log.Error("page could not be sent", "error", err)
				continue
			}
			paged = true
		}
	}
}

// ratio is the share of failed orders; false when Prometheus has no answer.
func (m *Monitor) ratio(ctx context.Context) (float64, bool) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.PrometheusURL+"/api/v1/query?query="+url.QueryEscape(alertQuery), nil)
	if err != nil {
		return 0, false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer) != nil || len(answer.Data.Result) != 1 {
		return 0, false
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil && v == v //nolint:gocritic // NaN is not itself.
}

// send tells the pager.
// Source: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
func (m *Monitor) send(ctx context.Context, action string, ratio float64) error {
	event := map[string]any{"routing_key": m.RoutingKey, "event_action": action, "dedup_key": dedupKey}
	if action == "trigger" {
		event["payload"] = map[string]any{
			"summary":  fmt.Sprintf("checkout: %.0f %% of orders fail", ratio*100),
			"source":   "shop-monitor",
			"severity": "critical",
		}
	}
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.EventsURL+"/v2/enqueue", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("send %s to the pager: %s", action, resp.Status)
	}
	return nil
}
