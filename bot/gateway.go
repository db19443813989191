package bot

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	commonpb "go.temporal.io/api/common/v1"

	"github.com/backout/backout/workflows/incident"
)

// Errors that callers of the gateway branch on. Any other error means that it
// is not known whether Temporal has the message; sending it again is safe.
var (
	// ErrNoIncident means that there is no open incident of that key.
	ErrNoIncident = errors.New("no open incident")
	// ErrInvalid means that the message can never be taken.
	ErrInvalid = errors.New("invalid message")
)

// resultWait is how long a page that Temporal has may take to be worked on
// before the caller is told that it was taken, and no more.
const resultWait = 500 * time.Millisecond

// listLimit is how many open incidents are listed at most.
const listLimit = 500

// Signer signs what a person asked for, once it is verified who they are.
type Signer interface {
	Decision(key string, q incident.DecideRequest) (incident.DecideRequest, error)
	Command(key string, q incident.CommandRequest) (incident.CommandRequest, error)
}

// Gateway turns requests into Temporal messages to incident workflows. It holds
// no state but how many are in flight and in which channels postmortems are, and is
// safe for concurrent use.
type Gateway struct {
	client client.Client
	signer Signer
	crowd  crowd
	where  whereabouts
}

// NewGateway sends through the client, whose data converter and namespace are
// those of the workers. Its callers have verified who sends a decision or a
// command: it signs both. Without a signer it sends pages and reads, and nothing
// else.
func NewGateway(c client.Client, s Signer) *Gateway { return &Gateway{client: c, signer: s} }

var errNoSigner = errors.New("this process has no key to sign decisions with")

// Receipt is an update that Temporal has durably accepted.
type Receipt struct {
	handle client.WorkflowUpdateHandle
	leave  func()
}

// Result waits until the incident has worked on the update.
func (r Receipt) Result(ctx context.Context) (incident.Result, error) {
	defer r.leave()
	var res incident.Result
	if err := r.handle.Get(ctx, &res); err != nil {
		return incident.Result{}, fmt.Errorf("get result of update %q: %w", r.handle.UpdateID(), classify(err))
	}
	return res, nil
}

// Page hands a page to its incident, starting the incident where the page may
// do so, and returns once Temporal has it. The same page any number of times,
// in any order with its siblings, is one page of one incident. A page about an
// incident that is over is a duplicate, unless its source says that it was
// reopened since.
func (g *Gateway) Page(ctx context.Context, p incident.Page) (incident.Result, error) {
	key := incident.Key(p.Source, p.IncidentID)
	if err := p.Validate(); err != nil {
		return incident.Result{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !incident.ValidKey(key) {
		return incident.Result{}, fmt.Errorf("send page %q: key %q names no incident: %w", p.EventID, key, ErrInvalid)
	}
	leave, err := g.crowd.enter(ctx, key)
	if err != nil {
		return incident.Result{}, fmt.Errorf("send page %q to %q: %w", p.EventID, key, err)
	}
	defer leave()
	handle, err := g.page(ctx, key, p)
	switch {
	case errors.Is(err, ErrNoIncident):
		return incident.Result{Outcome: incident.OutcomeDuplicate, Reason: "the incident is not open"}, nil
	case err != nil:
		return incident.Result{}, fmt.Errorf("send page %q to %q: %w", p.EventID, key, err)
	}
	wait, cancel := context.WithTimeout(ctx, resultWait)
	defer cancel()
	res, err := Receipt{handle, leave}.Result(wait)
	if err != nil {
		// Temporal has it; when it is worked on is another matter.
		return incident.Result{Outcome: incident.OutcomeAccepted, Reason: "the page is recorded"}, nil //nolint:nilerr // See above.
	}
	return res, nil
}

func (g *Gateway) page(ctx context.Context, key string, p incident.Page) (client.WorkflowUpdateHandle, error) {
	if p.Kind == incident.PageResolved {
		// The end of something unknown begins nothing.
		return g.update(ctx, key, incident.UpdatePage, "page:"+p.EventID, p)
	}
	handle, err := g.pageWithStart(ctx, key, p, enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE)
	if !errors.Is(err, ErrNoIncident) || p.Kind != incident.PageReopened {
		return handle, err
	}
	again, err := g.reopenedSince(ctx, key, p.OccurredAt)
	if err != nil {
		return nil, err
	}
	if !again {
		return nil, ErrNoIncident
	}
	return g.pageWithStart(ctx, key, p, enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE)
}

// pageWithStart starts the incident if there is none and sends it the page, in
// one call. ErrNoIncident means that it was there and is over.
func (g *Gateway) pageWithStart(ctx context.Context, key string, p incident.Page, reuse enumspb.WorkflowIdReusePolicy) (client.WorkflowUpdateHandle, error) {
	start := g.client.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID:                       incident.WorkflowID(key),
		TaskQueue:                incident.TaskQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    reuse,
		WorkflowTaskTimeout:      incident.TaskTimeout,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(incident.SearchPhase).ValueSet(string(incident.PhaseDeciding)),
			temporal.NewSearchAttributeKeyKeyword(incident.SearchService).ValueSet(p.Service),
			temporal.NewSearchAttributeKeyKeyword(incident.SearchSeverity).ValueSet(string(p.Severity)),
		),
	}, incident.WorkflowIncident, incident.IncidentInput{Key: key, Page: &p})
	handle, err := g.client.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateID:     "page:" + p.EventID,
			WorkflowID:   incident.WorkflowID(key),
			UpdateName:   incident.UpdatePage,
			Args:         []any{p},
			WaitForStage: client.WorkflowUpdateStageAccepted,
		},
	})
	return handle, classify(err)
}

// reopenedSince reports whether the moment is after the incident's end.
func (g *Gateway) reopenedSince(ctx context.Context, key string, at time.Time) (bool, error) {
	d, err := g.client.DescribeWorkflowExecution(ctx, incident.WorkflowID(key), "")
	if err != nil {
		return false, classify(err)
	}
	closed := d.GetWorkflowExecutionInfo().GetCloseTime()
	return closed == nil || at.After(closed.AsTime()), nil
}

// Attempt has an incident record what the bot refused somebody, and why. It returns
// once Temporal has it.
func (g *Gateway) Attempt(ctx context.Context, key string, a incident.Attempt) error {
	if !incident.ValidKey(key) {
		return fmt.Errorf("report attempt: key %q names no incident: %w", key, ErrInvalid)
	}
	if err := g.client.SignalWorkflow(ctx, incident.WorkflowID(key), "", incident.SignalAttempt, a); err != nil {
		return fmt.Errorf("report attempt on %q: %w", key, classify(err))
	}
	return nil
}

// SendDecision returns once Temporal has one person's answer. The same decision
// ID twice is the same decision.
func (g *Gateway) SendDecision(ctx context.Context, key string, q incident.DecideRequest) (Receipt, error) {
	if err := q.Validate(); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if g.signer == nil {
		return Receipt{}, fmt.Errorf("send decision %q: %w", q.DecisionID, errNoSigner)
	}
	q, err := g.signer.Decision(key, q)
	if err != nil {
		return Receipt{}, fmt.Errorf("send decision %q: %w", q.DecisionID, err)
	}
	return g.send(ctx, key, incident.UpdateDecide, "decide:"+q.DecisionID, q)
}

// Decide is SendDecision, and waits for the result.
func (g *Gateway) Decide(ctx context.Context, key string, q incident.DecideRequest) (incident.Result, error) {
	receipt, err := g.SendDecision(ctx, key, q)
	if err != nil {
		return incident.Result{}, err
	}
	return receipt.Result(ctx)
}

// SendCommand returns once Temporal has the command. The same command ID twice
// is the same command.
func (g *Gateway) SendCommand(ctx context.Context, key string, q incident.CommandRequest) (Receipt, error) {
	if err := q.Validate(); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if g.signer == nil {
		return Receipt{}, fmt.Errorf("send command %q: %w", q.CommandID, errNoSigner)
	}
	q, err := g.signer.Command(key, q)
	if err != nil {
		return Receipt{}, fmt.Errorf("send command %q: %w", q.CommandID, err)
	}
	return g.send(ctx, key, incident.UpdateCommand, "command:"+q.CommandID, q)
}

// Command is SendCommand, and waits for the result.
func (g *Gateway) Command(ctx context.Context, key string, q incident.CommandRequest) (incident.Result, error) {
	receipt, err := g.SendCommand(ctx, key, q)
	if err != nil {
		return incident.Result{}, err
	}
	return receipt.Result(ctx)
}

// SendPin returns once Temporal has it that something happened to a message. The same
// event twice is the same event. Where the incident is over, who follows its postmortem
// has it; the error is ErrNoIncident when nobody does.
func (g *Gateway) SendPin(ctx context.Context, key string, q incident.PinRequest) (Receipt, error) {
	if err := q.Validate(); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	receipt, err := g.send(ctx, key, incident.UpdatePin, "pin:"+q.EventID, q)
	if !errors.Is(err, ErrNoIncident) {
		return receipt, err
	}
	return g.sendTo(ctx, incident.FollowUpID(key), key, incident.UpdatePin, "pin:"+q.EventID, q)
}

func (g *Gateway) send(ctx context.Context, key, name, id string, payload any) (Receipt, error) {
	return g.sendTo(ctx, incident.WorkflowID(key), key, name, id, payload)
}

func (g *Gateway) sendTo(ctx context.Context, workflow, key, name, id string, payload any) (Receipt, error) {
	leave, err := g.crowd.enter(ctx, key)
	if err != nil {
		return Receipt{}, fmt.Errorf("send %s %q to %q: %w", name, id, key, err)
	}
	handle, err := g.updateOf(ctx, workflow, key, name, id, payload)
	if err != nil {
		leave()
		return Receipt{}, fmt.Errorf("send %s %q to %q: %w", name, id, key, err)
	}
	return Receipt{handle, leaveLater(leave, maxHeld)}, nil
}

func (g *Gateway) update(ctx context.Context, key, name, id string, payload any) (client.WorkflowUpdateHandle, error) {
	return g.updateOf(ctx, incident.WorkflowID(key), key, name, id, payload)
}

func (g *Gateway) updateOf(ctx context.Context, workflow, key, name, id string, payload any) (client.WorkflowUpdateHandle, error) {
	if !incident.ValidKey(key) {
		return nil, fmt.Errorf("key %q names no incident: %w", key, ErrInvalid)
	}
	handle, err := g.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID:     id,
		WorkflowID:   workflow,
		UpdateName:   name,
		Args:         []any{payload},
		WaitForStage: client.WorkflowUpdateStageAccepted,
	})
	return handle, classify(err)
}

// View is the incident as it stands, open or closed, with what was pinned since it was
// closed. The error is ErrNoIncident when Temporal does not know it, or not any more.
func (g *Gateway) View(ctx context.Context, key string) (incident.View, error) {
	if !incident.ValidKey(key) {
		return incident.View{}, fmt.Errorf("view incident: key %q names no incident: %w", key, ErrInvalid)
	}
	v, err := g.viewOf(ctx, incident.WorkflowID(key), key)
	if err != nil && !errors.Is(err, ErrNoIncident) || err == nil && v.Phase != incident.PhaseClosed {
		return v, err
	}
	// Who follows its postmortem knows what happened since. That there is nobody, or
	// nobody who answers, changes nothing.
	if later, lerr := g.viewOf(ctx, incident.FollowUpID(key), key); lerr == nil && later.Phase == incident.PhaseClosed && later.Revision >= v.Revision {
		return later, nil
	}
	return v, err
}

func (g *Gateway) viewOf(ctx context.Context, workflow, key string) (incident.View, error) {
	var v incident.View
	value, err := g.client.QueryWorkflow(ctx, workflow, "", incident.QueryView)
	if err != nil {
		return v, fmt.Errorf("view incident %q: %w", key, classify(err))
	}
	if err := value.Get(&v); err != nil {
		return v, fmt.Errorf("decode view of incident %q: %w", key, err)
	}
	return v, nil
}

// Summary is an open incident in a list. It may lag behind the incident.
type Summary struct {
	Key       string            `json:"key"`
	Phase     incident.Phase    `json:"phase"`
	Service   string            `json:"service"`
	Severity  incident.Severity `json:"severity"`
	StartedAt time.Time         `json:"started_at"`
}

// List is the open incidents, the newest first, at most 500. It comes from
// Temporal's visibility store, which lags: use it for lists only.
func (g *Gateway) List(ctx context.Context) ([]Summary, error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: 100,
		Query:    fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus = 'Running'", incident.WorkflowIncident),
	}
	var list []Summary
	seen := map[string]bool{}
	for {
		page, err := g.client.ListWorkflow(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list incidents: %w", err)
		}
		for _, e := range page.GetExecutions() {
			key := incident.KeyOf(e.GetExecution().GetWorkflowId())
			if !incident.ValidKey(key) || seen[key] {
				continue
			}
			seen[key] = true
			fields := e.GetSearchAttributes().GetIndexedFields()
			list = append(list, Summary{
				Key:       key,
				Phase:     incident.Phase(keyword(fields[incident.SearchPhase])),
				Service:   keyword(fields[incident.SearchService]),
				Severity:  incident.Severity(keyword(fields[incident.SearchSeverity])),
				StartedAt: e.GetStartTime().AsTime(),
			})
			if len(list) == listLimit {
				return list, nil
			}
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			return list, nil
		}
	}
}

// keyword is a search attribute; empty when it is not there.
func keyword(p *commonpb.Payload) string {
	var s string
	if p == nil || converter.GetDefaultDataConverter().FromPayload(p, &s) != nil {
		return ""
	}
	return s
}

// Check reports whether Temporal can be reached.
func (g *Gateway) Check(ctx context.Context) error {
	if _, err := g.client.CheckHealth(ctx, &client.CheckHealthRequest{}); err != nil {
		return fmt.Errorf("check Temporal: %w", err)
	}
	return nil
}

// classify gives the errors that callers branch on their names.
func classify(err error) error {
	var (
		missing *serviceerror.NotFound
		started *serviceerror.WorkflowExecutionAlreadyStarted
		invalid *serviceerror.InvalidArgument
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing), errors.As(err, &started):
		return fmt.Errorf("%w: %w", ErrNoIncident, err)
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	default:
		return err
	}
}
