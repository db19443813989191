package prometheus

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterProbe(KindQuery, SystemType, func(c *Conn) driver.Probe { return c })
}

var _ driver.Probe = (*Conn)(nil)

// QueryRange asks for a query over a range and returns every series, with NaN
// as it is. No series is not an error. Both ends are inclusive.
//
// Errors that wrap driver.ErrInvalid (the query is wrong, or asks for too
// much), driver.ErrDenied or driver.ErrNotFound (no such API there) are final;
// all others can be tried again. None holds a credential or the server's own
// text beyond what is wrong with the query.
func (c *Conn) QueryRange(ctx context.Context, query string, from, until time.Time, step time.Duration) ([]incident.Series, error) {
	if err := checkRange(query, from, until, step); err != nil {
		return nil, fmt.Errorf("query Prometheus: %w: %w", driver.ErrInvalid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx, x := withExchange(ctx)
	value, warnings, _, err := c.api.QueryRange(ctx, query, v1.Range{Start: from, End: until, Step: step},
		v1.WithTimeout(c.timeout), v1.WithLookbackDelta(c.lookback))
	if err != nil {
		return nil, fmt.Errorf("query Prometheus: %w", classify(err, x))
	}
	if len(warnings) > 0 {
		// Backends that join several stores warn when one did not answer.
		return nil, fmt.Errorf("query Prometheus: the answer may be partial: it came with %d warnings", len(warnings))
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("query Prometheus: the answer to a range is no matrix")
	}
	return seriesOf(matrix)
}

func checkRange(query string, from, until time.Time, step time.Duration) error {
	switch {
	case query == "":
		return errors.New("the query is empty")
	case step < time.Millisecond:
		return fmt.Errorf("the step %s is below a millisecond", step)
	case until.Before(from):
		return errors.New("the range ends before it begins")
	case until.Sub(from)/step >= maxPoints:
		return fmt.Errorf("%s at a step of %s is more than %d samples", until.Sub(from), step, maxPoints)
	default:
		return nil
	}
}

func seriesOf(matrix model.Matrix) ([]incident.Series, error) {
	out := make([]incident.Series, 0, len(matrix))
	for _, stream := range matrix {
		if stream == nil {
			return nil, errors.New("query Prometheus: the answer holds an empty series")
		}
		if len(stream.Histograms) > 0 {
			return nil, fmt.Errorf("query Prometheus: %w: the query yields histograms, not numbers", driver.ErrInvalid)
		}
		s := incident.Series{Labels: map[string]string{}, Points: make([]incident.Point, 0, len(stream.Values))}
		for k, v := range stream.Metric {
			s.Labels[string(k)] = string(v)
		}
		for _, p := range stream.Values {
			s.Points = append(s.Points, incident.Point{At: p.Timestamp.Time().UTC(), Value: float64(p.Value)})
		}
		out = append(out, s)
	}
	return out, nil
}
