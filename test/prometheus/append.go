package realprom

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// Sample is one value at one moment.
type Sample struct {
	At    time.Time
	Value float64
}

// Series is samples to write, in rising order of time. Labels hold "__name__".
type Series struct {
	Labels  map[string]string
	Samples []Sample
	// EndStale writes the marker with which Prometheus ends a series whose
	// target is gone, one millisecond after the last sample.
	EndStale bool
}

// Append writes samples directly, as if they had been scraped. They are
// visible to queries when it returns. Samples older than what a series already
// holds are refused.
func (s *Server) Append(ctx context.Context, series ...Series) error {
	app := s.db.Appender(ctx)
	for _, one := range series {
		set := labels.FromMap(one.Labels)
		samples := one.Samples
		for _, p := range samples {
			if _, err := app.Append(0, set, p.At.UnixMilli(), p.Value); err != nil {
				return errors.Join(fmt.Errorf("append to %s: %w", set, err), app.Rollback())
			}
		}
		if one.EndStale && len(samples) > 0 {
			at := samples[len(samples)-1].At.UnixMilli() + 1
			if _, err := app.Append(0, set, at, math.Float64frombits(value.StaleNaN)); err != nil {
				return errors.Join(fmt.Errorf("end %s: %w", set, err), app.Rollback())
			}
		}
	}
	if err := app.Commit(); err != nil {
		return fmt.Errorf("append samples: %w", err)
	}
	return nil
}
