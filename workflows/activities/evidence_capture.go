package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
)

// The times of a capture. They are Backout's own: evidence must not hold a rollback
// up for longer than people would wait.
const (
	// evidenceBudget is how long all collectors together may take.
	evidenceBudget = 20 * time.Second
	// collectorBudget is how long one collector may take, so that two rounds of
	// slow ones fit into the budget of all.
	collectorBudget = 8 * time.Second
	// storeBudget is how long after the budget of the collectors what they found
	// may still be stored.
	storeBudget = 15 * time.Second
	// maxCollectors is how many collectors run at one time.
	maxCollectors = 8
)

// The sizes of what is kept. They are Backout's own: what is kept passes through
// memory, and people read it.
const (
	// maxRead is how much of one document is looked at, in bytes.
	maxRead = 16 << 20
	// maxDocument is the longest document that is stored whole, in bytes.
	maxDocument = 2 << 20
	// maxDocuments is how many documents of one collector are kept.
	maxDocuments = 64
	// maxItems is how many items of a manifest there are before it says that there are
	// more: it travels with the incident, and a history holds 2 MiB a message.
	maxItems = 256
	// maxItemName bounds the name of an item, in runes.
	maxItemName = 200
)

// Ranks of what is captured, by how soon it is lost once the rollback begins.
const (
	// dying is gone with the pods that the rollback ends.
	dying = iota
	// changing is there until the rollback changes it. It is the rank of every
	// collector that is not listed.
	changing
	// lasting is kept by its own system, whatever the rollback does.
	lasting
)

// ranks are the collectors whose captures are lost sooner or later than others'.
var ranks = map[string]int{
	"kubernetes.logs":     dying,
	"kubernetes.describe": dying,
	"prometheus.range":    lasting,
	"helm.values":         lasting,
}

func rank(collector string) int {
	if r, ok := ranks[collector]; ok {
		return r
	}
	return changing
}

// lostFirst is the order in which collectors start: what is lost soonest first, and
// what is lost alike in the order of the runbook.
func lostFirst(specs []incident.EvidenceSpec) []int {
	order := make([]int, len(specs))
	for i := range specs {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(rank(specs[a].Collector), rank(specs[b].Collector))
	})
	return order
}

// capture runs the collectors beside each other, what is lost soonest first. The
// items are in the order of the runbook. Whatever goes wrong is in the items.
func (a *Activities) capture(ctx context.Context, specs []incident.EvidenceSpec, in EvidenceInput) []incident.EvidenceItem {
	stored, cancel := context.WithTimeout(ctx, evidenceBudget+storeBudget)
	defer cancel()
	budget, cancel := context.WithTimeout(ctx, evidenceBudget)
	defer cancel()
	found := make([][]incident.EvidenceItem, len(specs))
	running := make(chan struct{}, maxCollectors)
	var wg sync.WaitGroup
	for _, i := range lostFirst(specs) {
		select {
		case running <- struct{}{}:
		case <-budget.Done():
		}
		if budget.Err() != nil {
			found[i] = []incident.EvidenceItem{a.missing(specs[i], errLate)}
			continue
		}
		wg.Go(func() {
			defer func() { <-running }()
			found[i] = a.captureOne(budget, stored, specs[i], in)
		})
	}
	wg.Wait()
	return a.bounded(slices.Concat(found...))
}

// bounded keeps the first items, and says how many there were.
func (a *Activities) bounded(items []incident.EvidenceItem) []incident.EvidenceItem {
	if len(items) <= maxItems {
		return items
	}
	return append(items[:maxItems:maxItems], incident.EvidenceItem{
		Name: "everything else", Missing: fmt.Sprintf("a manifest lists %d items, and there were %d: have the runbook name fewer things", maxItems, len(items)), At: a.Now().UTC(),
	})
}

// errLate means that the budget was used up by others.
var errLate = fmt.Errorf("there was no time left: all evidence together has %s", evidenceBudget)

// missing is the item of what could not be had.
func (a *Activities) missing(spec incident.EvidenceSpec, err error) incident.EvidenceItem {
	return incident.EvidenceItem{Name: itemName(spec.Collector + " " + spec.Target.String()), Collector: spec.Collector, Missing: said(err), At: a.Now().UTC()}
}

// captureOne runs one collector and stores what it found.
func (a *Activities) captureOne(budget, stored context.Context, spec incident.EvidenceSpec, in EvidenceInput) []incident.EvidenceItem {
	docs, err := a.collectOne(budget, spec, in)
	var items []incident.EvidenceItem
	for n, d := range docs {
		if n == maxDocuments {
			items = append(items, a.missing(spec, fmt.Errorf("the collector found %d documents, of which the first %d are kept", len(docs), maxDocuments)))
			break
		}
		items = append(items, a.store(stored, spec.Collector, d))
	}
	if err != nil {
		items = append(items, a.missing(spec, err))
	}
	return items
}

// collectOne runs one collector. It gives up on one that does not stop when its time is
// over, and survives one that panics.
func (a *Activities) collectOne(ctx context.Context, spec incident.EvidenceSpec, in EvidenceInput) ([]driver.Evidence, error) {
	c, err := a.Systems.Collector(spec.Collector, spec.Target.System)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, collectorBudget)
	defer cancel()
	docs, answered, err := guarded(ctx, func() ([]driver.Evidence, error) {
		return c.Collect(ctx, driver.CollectRequest{
			Target: spec.Target, From: in.From.Add(-evidenceLead), Until: in.Until, Params: spec.Params, Action: actionOn(in.Plan, spec.Target),
		})
	})
	switch {
	case !answered:
		return nil, fmt.Errorf("it did not answer in time, which is %s at most", collectorBudget)
	case err != nil && ctx.Err() != nil:
		return docs, fmt.Errorf("it did not answer in time, which is %s at most: %w", collectorBudget, err)
	case err != nil:
		return docs, err
	case len(docs) == 0:
		return nil, errors.New("the collector found nothing")
	}
	return docs, nil
}

// actionOn is what a plan does to a target; zero when it does nothing to it.
func actionOn(p incident.Plan, t incident.Target) incident.Action {
	for _, a := range p.Actions {
		if a.Target == t {
			return a
		}
	}
	return incident.Action{}
}

// store redacts one document, cuts it where it is too long, and stores it.
func (a *Activities) store(ctx context.Context, collector string, d driver.Evidence) incident.EvidenceItem {
	item := incident.EvidenceItem{Name: itemName(d.Name), Collector: collector, MediaType: cmp.Or(d.MediaType, "application/octet-stream"), At: a.Now().UTC()}
	read := d.Content
	if len(read) > maxRead {
		read = read[:maxRead]
	}
	clean, n := redact.Document(read, item.MediaType)
	item.Redactions = n
	if d.From != nil {
		return a.storeDifference(ctx, item, d.From, clean)
	}
	kept := cut(clean, maxDocument)
	if len(kept) < len(clean) || len(read) < len(d.Content) {
		item.Note = fmt.Sprintf("cut to %d bytes: the document has %d", len(kept), len(d.Content))
		// Half of a JSON document is none.
		item.MediaType = cutType(item.MediaType)
	}
	var err error
	if item.Digest, err = a.Evidence.Put(ctx, kept, item.MediaType); err != nil {
		item.Digest, item.Note, item.Missing = "", "", "it was captured and could not be stored: "+said(err)
		return item
	}
	item.Size = int64(len(kept))
	return item
}

// itemName is a name from outside as it may be kept: without secrets, and short.
func itemName(name string) string {
	clean, _ := redact.Document([]byte(name), "")
	if r := []rune(string(clean)); len(r) > maxItemName {
		return string(r[:maxItemName-1]) + "…"
	}
	return string(clean)
}
