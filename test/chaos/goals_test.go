//go:build unix && !race

package chaos_test

import (
	"slices"
	"sync"
)

// goals are the events at which the product is to be killed, by label.
type goals struct {
	// recorded is closed when wanted is there, sorted.
	recorded chan struct{}
	wanted   []string

	once    sync.Once
	mu      sync.Mutex
	covered map[string]bool
}

func newGoals() *goals {
	return &goals{recorded: make(chan struct{}), covered: map[string]bool{}}
}

// done ends the recording.
func (g *goals) done() { g.once.Do(func() { close(g.recorded) }) }

// missing are the labels of the events at which no product was killed yet.
func (g *goals) missing() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, l := range g.wanted {
		if !g.covered[l] {
			out = append(out, l)
		}
	}
	return out
}

// lacks reports whether one of the labels is missing.
func (g *goals) lacks(labels []string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(labels, func(l string) bool {
		_, wanted := slices.BinarySearch(g.wanted, l)
		return wanted && !g.covered[l]
	})
}

// reach notes the labels of the events at which a product was killed.
func (g *goals) reach(labels []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range labels {
		g.covered[l] = true
	}
}
