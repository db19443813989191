package activities_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// tape is a recorder whose watches end as a test says, and otherwise with their
// context.
type tape struct {
	driver.Recorder
	ends map[string][]error // By path, the end of each watch in turn.

	mu      sync.Mutex
	watches map[string]int
}

// deck has a tape for the one system that there is.
type deck struct{ tape *tape }

// Recorder returns the tape.
func (d deck) Recorder(kind, system string) (driver.Recorder, error) {
	if system != "cluster" {
		return nil, fmt.Errorf("find %q on %q: %w: no such system", kind, system, driver.ErrInvalid)
	}
	return d.tape, nil
}

// Watch waits, or ends as it is told.
func (r *tape) Watch(ctx context.Context, target incident.Target) error {
	r.mu.Lock()
	n := r.watches[target.Path]
	r.watches[target.Path]++
	r.mu.Unlock()
	if n < len(r.ends[target.Path]) {
		return r.ends[target.Path][n]
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestKeepStates(t *testing.T) {
	t.Parallel()
	denied := fmt.Errorf("watch it: %w", driver.ErrDenied)
	one := runbooks.KindTarget{Kind: "kubernetes.object", Target: incident.Target{System: "cluster", Path: "one"}}
	two := runbooks.KindTarget{Kind: "kubernetes.object", Target: incident.Target{System: "cluster", Path: "two"}}
	lost := runbooks.KindTarget{Kind: "kubernetes.object", Target: incident.Target{System: "gone", Path: "one"}}
	for _, tt := range []struct {
		name     string
		recorded []runbooks.KindTarget
		ends     map[string][]error
		watches  map[string]int
		failed   []string
	}{
		{"nothing", nil, nil, map[string]int{}, nil},
		{"all are followed to the end", []runbooks.KindTarget{one, two}, nil, map[string]int{"one": 1, "two": 1}, nil},
		{"a right that is granted later", []runbooks.KindTarget{one, two}, map[string][]error{"two": {denied, denied}}, map[string]int{"one": 1, "two": 3}, nil},
		{
			"a right that is never granted",
			[]runbooks.KindTarget{one, two},
			map[string][]error{"two": {denied, denied, denied, denied, denied, denied}},
			map[string]int{"one": 1, "two": 4},
			[]string{"kubernetes.object cluster/two: " + denied.Error()},
		},
		{"a watch that ends for no reason", []runbooks.KindTarget{one}, map[string][]error{"one": {nil}}, map[string]int{"one": 2}, nil},
		{
			"a system that is not configured",
			[]runbooks.KindTarget{lost, one},
			nil,
			map[string]int{"one": 1},
			[]string{`kubernetes.object gone/one: find "kubernetes.object" on "gone": invalid action: no such system`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := &tape{ends: tt.ends, watches: map[string]int{}}
				a := &activities.Activities{Recorded: tt.recorded, Recorders: deck{r}}
				began := time.Now()
				got, err := a.KeepStates(t.Context(), activities.KeepInput{For: 100 * time.Second})
				require.NoError(t, err)
				require.Equal(t, activities.KeepResult{Targets: len(tt.recorded), Failed: tt.failed}, got)
				require.Equal(t, tt.watches, r.watches)
				if len(tt.recorded) > 0 {
					require.Equal(t, 100*time.Second, time.Since(began))
				}
			})
		})
	}
}

func TestKeepStatesEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &tape{watches: map[string]int{}}
		a := &activities.Activities{Recorded: []runbooks.KindTarget{{Kind: "kubernetes.object", Target: incident.Target{System: "cluster", Path: "one"}}}, Recorders: deck{r}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.KeepStates(ctx, activities.KeepInput{For: time.Hour})
		require.ErrorContains(t, err, context.DeadlineExceeded.Error())

		a.Recorders = nil
		_, err = a.KeepStates(t.Context(), activities.KeepInput{For: time.Hour})
		require.ErrorContains(t, err, "not configured", "fail closed")
	})
}
