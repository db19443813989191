package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// The collector's settings in a runbook.
const (
	// paramQuery is the PromQL. Required.
	paramQuery = "query"
	// paramName is what people call it; the query itself when it is missing.
	paramName = "name"
	// paramStep is the resolution, such as "15s"; by default the window is cut
	// into defaultSteps.
	paramStep = "step"
)

const (
	// defaultSteps is how many samples a window has when no step is given:
	// what fits on a chart.
	defaultSteps = 240
	// mediaType is what the document is.
	mediaType = "application/json"
)

func init() {
	driver.RegisterCollector(KindRange, SystemType, func(c *Conn) driver.Collector { return c })
	driver.RegisterParams(KindRange, func(_ incident.Target, params map[string]string) error { return checkParams(params) })
}

var _ driver.Collector = (*Conn)(nil)

// RangeDocument is the evidence that the collector captures.
type RangeDocument struct {
	Query string    `json:"query"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	Step  string    `json:"step"`
	// Series is empty when the query yields nothing, which is evidence too.
	Series []RangeSeries `json:"series"`
}

// RangeSeries is one series of a RangeDocument.
type RangeSeries struct {
	Labels map[string]string `json:"labels"`
	// Samples are pairs of Unix seconds and a value, both as text, because
	// JSON has neither NaN nor infinity.
	Samples [][2]string `json:"samples"`
}

// Collect captures one query over the window of the request. An unknown or
// missing parameter is an error that wraps driver.ErrInvalid.
func (c *Conn) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	if err := checkParams(req.Params); err != nil {
		return nil, fmt.Errorf("collect %q: %w", KindRange, err)
	}
	query, name := req.Params[paramQuery], req.Params[paramName]
	if name == "" {
		name = query
	}
	step := max(time.Second, req.Until.Sub(req.From)/defaultSteps).Truncate(time.Millisecond)
	if s, ok := req.Params[paramStep]; ok {
		step, _ = time.ParseDuration(s) // It was checked.
	}
	series, err := c.QueryRange(ctx, query, req.From, req.Until, step)
	if err != nil {
		return nil, fmt.Errorf("collect %q: %w", name, err)
	}
	doc := RangeDocument{Query: query, From: req.From.UTC(), Until: req.Until.UTC(), Step: step.String(), Series: make([]RangeSeries, 0, len(series))}
	for _, s := range series {
		out := RangeSeries{Labels: s.Labels, Samples: make([][2]string, 0, len(s.Points))}
		for _, p := range s.Points {
			out.Samples = append(out.Samples, [2]string{
				strconv.FormatFloat(float64(p.At.UnixMilli())/1000, 'f', 3, 64),
				strconv.FormatFloat(p.Value, 'g', -1, 64),
			})
		}
		doc.Series = append(doc.Series, out)
	}
	content, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("collect %q: %w", name, err)
	}
	return []driver.Evidence{{Name: KindRange + " " + name, MediaType: mediaType, Content: content}}, nil
}

// checkParams reports a parameter that is unknown, missing or malformed.
func checkParams(params map[string]string) error {
	if err := driver.KnownParams(params, KindRange, paramQuery, paramName, paramStep); err != nil {
		return err
	}
	if strings.TrimSpace(params[paramQuery]) == "" {
		return &driver.ParamError{Param: paramQuery, Reason: "it is missing: give the PromQL to capture"}
	}
	if given, ok := params[paramStep]; ok {
		if step, err := time.ParseDuration(given); err != nil || step < time.Millisecond {
			return &driver.ParamError{Param: paramStep, Reason: "it is not a time of 1ms or more, such as 15s"}
		}
	}
	return nil
}
