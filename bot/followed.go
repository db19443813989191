package bot

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/backout/backout/workflows/incident"
)

// Bounds of looking for postmortems.
const (
	// maxFollowed is how many postmortems are looked at to find the one whose timeline
	// a message is in.
	maxFollowed = 200
	// followedReaders is how many of them are read at a time.
	followedReaders = 8
	// maxWhere is how many of them it is remembered of in which channel they are.
	maxWhere = 2000
)

// whereabouts remembers in which channel the card of an incident is whose postmortem is
// followed, which never changes, so that an edit in one channel does not ask about the
// postmortems of all others. It is safe for concurrent use.
type whereabouts struct {
	mu sync.Mutex
	of map[string]string
}

func (w *whereabouts) channel(run string) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, known := w.of[run]
	return c, known
}

func (w *whereabouts) remember(run, channel string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil || len(w.of) >= maxWhere {
		w.of = map[string]string{}
	}
	w.of[run] = channel
}

// Followed is the incidents that are over, whose card is in a channel and whose
// postmortem is followed still, with what was pinned since. Whole is false when there
// may be others.
func (g *Gateway) Followed(ctx context.Context, channel string) (list []incident.View, whole bool, err error) {
	page, err := g.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: maxFollowed,
		Query:    fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", incident.WorkflowFollowUp),
	})
	if err != nil {
		return nil, false, fmt.Errorf("list postmortems: %w", err)
	}
	whole = len(page.GetNextPageToken()) == 0
	var (
		mu    sync.Mutex
		group sync.WaitGroup
		slots = make(chan struct{}, followedReaders)
		seen  = map[string]bool{}
	)
	for _, e := range page.GetExecutions() {
		id := e.GetExecution().GetWorkflowId()
		key := incident.FollowedKey(id)
		at, known := g.where.channel(id)
		if !incident.ValidKey(key) || seen[key] || known && at != channel {
			continue
		}
		seen[key] = true
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			v, err := g.viewOf(ctx, id, key)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, ErrNoIncident):
			case err != nil:
				whole = false
			default:
				if v.Card.Channel != "" {
					g.where.remember(id, v.Card.Channel)
				}
				if v.Phase == incident.PhaseClosed && v.Card.Channel == channel {
					list = append(list, v)
				}
			}
		})
	}
	group.Wait()
	return list, whole, nil
}
