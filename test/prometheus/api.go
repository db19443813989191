package realprom

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// Bounds of remote read, which are Prometheus's own defaults.
// Source: https://prometheus.io/docs/prometheus/latest/command-line/prometheus/
const (
	remoteReadSamples     = 50_000_000
	remoteReadConcurrency = 10
	remoteReadFrameBytes  = 1 << 20
)

// api is Prometheus's HTTP API over this server's parts, with everything that
// writes switched off.
func (s *Server) api(logger *slog.Logger, registry *prometheus.Registry, language parser.Parser) *v1.API {
	open := func(h http.HandlerFunc) http.HandlerFunc { return h }
	return v1.NewAPI(s.engine, s.db, nil, nil, s.db,
		func(context.Context) v1.ScrapePoolsRetriever { return s.scraper },
		func(context.Context) v1.TargetRetriever { return s.scraper },
		func(context.Context) v1.AlertmanagerRetriever { return none{} },
		func() config.Config { return config.DefaultConfig },
		map[string]string{},
		v1.GlobalURLOptions{ListenAddress: hostOf(s.url), Host: hostOf(s.url), Scheme: "http"},
		open, stats{s.db}, s.db.Dir(), false, false, 0, logger,
		func(context.Context) v1.RulesRetriever { return none{} },
		remoteReadSamples, remoteReadConcurrency, remoteReadFrameBytes, false, nil,
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, nil },
		&v1.PrometheusVersion{}, nil, nil, registry, registry, nil,
		false, nil, false, false, false, false, defaultLookback, false, false, nil, nil,
		v1.OpenAPIOptions{}, language)
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

// none stands for the rules and alert managers that this server does not have.
type none struct{}

func (none) Alertmanagers() []*url.URL            { return nil }
func (none) DroppedAlertmanagers() []*url.URL     { return nil }
func (none) RuleGroups() []*rules.Group           { return nil }
func (none) AlertingRules() []*rules.AlertingRule { return nil }

// stats is the database as the API wants to see it.
type stats struct{ *tsdb.DB }

func (s stats) BlockMetas() ([]tsdb.BlockMeta, error) { return s.DB.BlockMetas(), nil }

func (s stats) Stats(label string, limit int) (*tsdb.Stats, error) {
	return s.Head().Stats(label, limit), nil
}

func (s stats) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return tsdb.WALReplayStatus{}, nil
}

var _ v1.TargetRetriever = (*scrape.Manager)(nil)
