package product

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backout/backout/integrations/ledger"
)

// LedgerConfig says where the audit record is, and where else it goes.
type LedgerConfig struct {
	// Path is the SQLite file. Default: ledger.db in the data folder.
	Path string `yaml:"path"`
	// Sinks get a copy of every entry, in order.
	Sinks []SinkConfig `yaml:"sinks"`
}

// SinkConfig is one second place of the ledger: a file or a webhook.
type SinkConfig struct {
	// File is appended to, one JSON object a line. On another disk or host, or
	// append-only for everybody, it proves what the ledger was.
	File string `yaml:"file"`
	// Webhook is a URL that takes signed JSON lines, and SecretFile holds the
	// signing secret: whsec_ and base64.
	Webhook    string `yaml:"webhook"`
	SecretFile string `yaml:"secret_file"`
}

// defaults fills in what was left out, and makes paths absolute.
func (c *LedgerConfig) defaults(data string, abs func(*string)) {
	if c.Path == "" {
		c.Path = filepath.Join(data, LedgerFile)
	}
	abs(&c.Path)
	for i := range c.Sinks {
		abs(&c.Sinks[i].File)
		abs(&c.Sinks[i].SecretFile)
	}
}

// validate reports sinks that are none, or are there twice.
func (c *LedgerConfig) validate(bad func(format string, args ...any)) {
	seen := map[string]bool{}
	for i, s := range c.Sinks {
		at := fmt.Sprintf("ledger.sinks[%d]", i)
		switch {
		case (s.File == "") == (s.Webhook == ""):
			bad("%s: give either file or webhook", at)
		case s.File != "" && s.SecretFile != "":
			bad("%s: secret_file is for a webhook; a file is not signed", at)
		case s.Webhook != "" && s.SecretFile == "":
			bad("%s: secret_file is missing: deliveries are signed", at)
		case s.File != "" && s.File == c.Path:
			bad("%s: the file is the ledger itself", at)
		case seen[s.File+s.Webhook]:
			bad("%s: it is there twice", at)
		}
		seen[s.File+s.Webhook] = true
	}
}

// String says what a sink is. The path and the query of a URL may hold a secret.
func (s SinkConfig) String() string {
	if s.File != "" {
		return "file " + s.File
	}
	scheme, rest, _ := strings.Cut(s.Webhook, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	return "webhook " + scheme + "://" + host[strings.LastIndex(host, "@")+1:]
}

// openSinks makes the sinks of a configuration.
func openSinks(c LedgerConfig) ([]ledger.Sink, error) {
	var out []ledger.Sink
	for _, s := range c.Sinks {
		if s.File != "" {
			sink, err := ledger.NewFileSink(s.File)
			if err != nil {
				return nil, err
			}
			out = append(out, sink)
			continue
		}
		sink, err := ledger.NewWebhookSink(ledger.WebhookOptions{URL: s.Webhook, SecretFile: s.SecretFile, CursorFile: ledger.CursorPath(c.Path, s.Webhook)})
		if err != nil {
			return nil, err
		}
		out = append(out, sink)
	}
	return out, nil
}

// openLedger opens the ledger of a worker, and hands it to its sinks.
func (s *Server) openLedger(ctx context.Context, o Options, registry prometheus.Registerer) (*ledger.Ledger, error) {
	led, err := ledger.Open(ctx, o.Config.Ledger.Path)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func(context.Context) error { return led.Close() })
	sinks, err := openSinks(o.Config.Ledger)
	if err != nil {
		return nil, err
	}
	if len(sinks) == 0 {
		return led, nil
	}
	relay := ledger.StartRelay(led, o.Log, sinks...) //nolint:contextcheck // It runs until Stop, not until the start is over.
	s.closers = append(s.closers, func(context.Context) error { relay.Stop(); return nil })
	if err := registry.Register(sinkCollector{relay}); err != nil {
		return nil, fmt.Errorf("export metrics: %w", err)
	}
	return led, nil
}

// The metrics of the ledger's sinks.
var (
	sinkLag = prometheus.NewDesc("backout_ledger_sink_lag_entries",
		"How many entries of the ledger a sink does not have yet.", []string{"sink"}, nil)
	sinkFailures = prometheus.NewDesc("backout_ledger_sink_failures_total",
		"How many times entries could not be handed to a sink.", []string{"sink"}, nil)
	sinkDiverged = prometheus.NewDesc("backout_ledger_sink_diverged",
		"1 if a sink and the ledger differ, so that one of them was tampered with.", []string{"sink"}, nil)
)

// sinkCollector exports how far the sinks are.
type sinkCollector struct{ relay *ledger.Relay }

// Describe names the metrics.
func (sinkCollector) Describe(out chan<- *prometheus.Desc) {
	out <- sinkLag
	out <- sinkFailures
	out <- sinkDiverged
}

// Collect reads them. A ledger that can not be read is an error of the scrape.
func (c sinkCollector) Collect(out chan<- prometheus.Metric) {
	status, err := c.relay.Status(context.Background())
	if err != nil {
		out <- prometheus.NewInvalidMetric(sinkLag, err)
		return
	}
	for _, s := range status {
		diverged := 0.0
		if s.Diverged {
			diverged = 1
		}
		out <- prometheus.MustNewConstMetric(sinkLag, prometheus.GaugeValue, float64(s.Lag), s.Sink)
		out <- prometheus.MustNewConstMetric(sinkFailures, prometheus.CounterValue, float64(s.Failures), s.Sink)
		out <- prometheus.MustNewConstMetric(sinkDiverged, prometheus.GaugeValue, diverged, s.Sink)
	}
}

// doctorLedger verifies a ledger that exists, and holds it against its sinks:
// before the first start there is none.
func doctorLedger(ctx context.Context, c LedgerConfig, check func(what string, err error)) {
	sinks, err := openSinks(c)
	if err != nil {
		check("second copies of the ledger", err)
		return
	}
	if _, err := os.Stat(c.Path); errors.Is(err, os.ErrNotExist) {
		check("ledger, which is made by the first start", nil)
		return
	}
	l, err := ledger.OpenReadOnly(ctx, c.Path)
	if err != nil {
		check("ledger", err)
		return
	}
	defer func() { _ = l.Close() }() // Nothing was written.
	check("ledger", whole(l.Verify(ctx)))
	for _, s := range sinks {
		what, err := checkSink(ctx, l, s)
		check("second copy of the ledger at "+what, err)
	}
}

// checkSink says how far a sink is, and whether it is one of this ledger.
func checkSink(ctx context.Context, l *ledger.Ledger, s ledger.Sink) (string, error) {
	at, err := s.Cursor()
	if err != nil {
		return s.Name(), err
	}
	problem, err := l.VerifyHead(ctx, at)
	if err != nil {
		return s.Name(), err
	}
	if problem != nil {
		return s.Name(), fmt.Errorf("entry %d: the ledger and this copy differ; compare them with ledger verify --against", problem.Seq)
	}
	end, err := l.End(ctx)
	if err != nil {
		return s.Name(), err
	}
	if lag := end.Seq - at.Seq; lag > 0 {
		return fmt.Sprintf("%s, which is %d entries behind", s.Name(), lag), nil
	}
	return s.Name(), nil
}

// whole turns a report that names a bad entry into an error.
func whole(r ledger.Report, err error) error {
	if err == nil && !r.OK() {
		err = tampered(*r.First)
	}
	return err
}

func tampered(p ledger.Problem) error {
	if p.ID == "" {
		return fmt.Errorf("entry %d: %s", p.Seq, p.What)
	}
	return fmt.Errorf("entry %d (%s): %s", p.Seq, p.ID, p.What)
}

// printNotes prints what people should know of a report.
func printNotes(out io.Writer, notes []string) {
	for _, n := range notes {
		_, _ = fmt.Fprintln(out, "note:", n)
	}
}
