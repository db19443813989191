//go:build unix && !race

package chaos_test

import (
	"slices"
	"strings"
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
	// ended counts the workflows that are over by kind, and had those of them
	// that have an event.
	ended, had map[string]int
}

// An event that fewer than one in commonIn workflows has, of at least enough, was
// in all of the recorded ones by chance, and is not asked for.
const (
	enough   = 40
	commonIn = 4
)

func newGoals() *goals {
	return &goals{recorded: make(chan struct{}), covered: map[string]bool{}, ended: map[string]int{}, had: map[string]int{}}
}

// end notes the events of a workflow that is over.
func (g *goals) end(labels []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for l := range set(labels) {
		g.had[l]++
	}
	g.ended[kindOf(labels[0])]++
}

// chance reports whether an event has turned out to depend on chance.
func (g *goals) chance(label string) bool {
	ended := g.ended[kindOf(label)]
	return ended >= enough && g.had[label]*commonIn < ended
}

// excused are the wanted events that have turned out to depend on chance, and at
// which no product was killed.
func (g *goals) excused() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(g.wanted), func(l string) bool { return g.covered[l] || !g.chance(l) })
}

// kindOf is what a label is of: an incident or a rollback.
func kindOf(label string) string {
	kind, _, _ := strings.Cut(label, ":")
	return kind
}

// done ends the recording.
func (g *goals) done() { g.once.Do(func() { close(g.recorded) }) }

// missing are the labels of the events at which no product was killed yet.
func (g *goals) missing() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for _, l := range g.wanted {
		if !g.covered[l] && !g.chance(l) {
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
