package compensate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse and of the change source beside it.
const kind = "http.compensate"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "anything else",
		TargetForm: targetForm,
		Forms:      []string{"Digest", "ETag"},
		Reversible: true,
		OneWay:     "a resource of which the service says so",
		WontRevert: wontRevert,
		Permission: "a token that the service lets GET and POST <url>/<resource>, and a signing secret (\"whsec_\") of this host alone",
	}, func(s *services) driver.Inverse { return inverse{s} })
}

// wontRevert lists what stays as it is whatever the service does. A service adds
// its own.
var wontRevert = []string{"what others did meanwhile because of the effects that are compensated"}

// maxExpected bounds the time that a service may announce.
const maxExpected = 24 * time.Hour

// inverse has a service compensate for a change of a resource.
type inverse struct{ services *services }

// final makes a broken contract end the action: a service that can not be
// understood will not be understood later.
func final(err error) error {
	if errors.Is(err, errContract) {
		return fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	return err
}

// Plan asks the service, and holds it to its own observation.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	h, resource, err := i.services.find(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	query := url.Values{"view": {"plan"}}
	if req.Revision != "" {
		query.Set("revision", req.Revision)
	} else {
		query.Set("before", req.Before.UTC().Format(time.RFC3339Nano))
	}
	var checks driver.Findings
	var p planned
	x, err := h.do(ctx, exchange{method: http.MethodGet, resource: resource, query: query})
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("resource exists", "The host %s has no resource %s.", h.name, resource)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "The host %s does not let Backout read the resource %s.", h.name, resource)
		return driver.Planned{Preflight: checks}, nil
	case err == nil:
		err = x.into(&p)
	}
	var out driver.Planned
	if err == nil {
		out, err = p.offer()
	}
	if err == nil && !out.Blocked() {
		err = i.agrees(ctx, h, resource, out.From)
	}
	if err != nil {
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, final(err))
	}
	return out, nil
}

// into reads the answer to a GET.
func (x exchange) into(value any) error {
	if x.status != http.StatusOK {
		return violation(fmt.Sprintf("the answer to a GET is %d", x.status))
	}
	return decode(x.answer, value)
}

// offer is what the service found out, as a plan. A blocked one has no states.
func (p planned) offer() (driver.Planned, error) {
	if len(p.Checks) == 0 || len(p.Checks) > maxItems || len(p.WontRevert) > maxItems {
		return driver.Planned{}, violation("the plan has no check, or too many")
	}
	var checks driver.Findings
	for _, c := range p.Checks {
		name := line(c.Name)
		switch c.Result {
		case incident.PreflightOK, incident.PreflightWarning, incident.PreflightUnknown, incident.PreflightBlocked:
		default:
			return driver.Planned{}, violation("a check of the plan has an unknown result")
		}
		if name == "" {
			return driver.Planned{}, violation("a check of the plan has no name")
		}
		checks = append(checks, incident.Preflight{Name: name, Result: c.Result, Reason: sentence(c.Reason)})
	}
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	from, err := p.From.named()
	if err != nil {
		return driver.Planned{}, err
	}
	to, err := p.To.named()
	if err != nil {
		return driver.Planned{}, err
	}
	expected := time.Duration(p.ExpectedSeconds * float64(time.Second))
	switch {
	case from.Digest == to.Digest:
		return driver.Planned{}, violation("the plan is not blocked and leads nowhere")
	case p.Reversible == nil:
		return driver.Planned{}, violation("the plan does not say whether there is a way back")
	case expected < 0 || expected > maxExpected:
		return driver.Planned{}, violation("the plan takes no time that there is")
	}
	stays := make([]string, 0, len(p.WontRevert)+len(wontRevert))
	for _, text := range p.WontRevert {
		if said := line(text); said != "" {
			stays = append(stays, said)
		}
	}
	return driver.Planned{
		From: from, To: to, Reversible: *p.Reversible, ExpectedTime: expected,
		WontRevert: append(stays, wontRevert...), Preflight: checks,
	}, nil
}

// errContradiction means that a service plans from another state than the one
// that it shows right afterwards. The resource may have moved meanwhile.
var errContradiction = errors.New("the service shows another state than the one that it plans from")

// agrees holds a plan against an observation.
func (i inverse) agrees(ctx context.Context, h *host, resource string, from incident.State) error {
	seen, _, err := i.observe(ctx, h, resource)
	if err == nil && seen.State.Digest != from.Digest {
		return errContradiction
	}
	return err
}

// Observe reads the state of the resource.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	h, resource, err := i.services.find(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	seen, _, err := i.observe(ctx, h, resource)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, final(err))
	}
	return seen, nil
}

// observe is the state and the ETag that a write can be conditional on, if any.
func (i inverse) observe(ctx context.Context, h *host, resource string) (driver.Observation, string, error) {
	x, err := h.do(ctx, exchange{method: http.MethodGet, resource: resource})
	if err != nil {
		return driver.Observation{}, "", err
	}
	var o observed
	if err := x.into(&o); err != nil {
		return driver.Observation{}, "", err
	}
	if o.State.Digest == "" && o.State.ETag == "" {
		o.State.ETag = x.etag
	}
	present, err := o.State.named()
	switch {
	case err != nil:
		return driver.Observation{}, "", err
	case o.Settled == nil:
		return driver.Observation{}, "", violation("the answer does not say whether the resource has settled")
	case o.State.ETag != "" && x.etag != "" && o.State.ETag != x.etag:
		return driver.Observation{}, "", violation("the answer has one etag in its header and another in its state")
	}
	if !strongETag(x.etag) {
		x.etag = ""
	}
	return driver.Observation{State: present, Settled: *o.Settled, Detail: line(o.Detail)}, x.etag, nil
}

// Apply asks the service to compensate, if the resource is at action.From. A
// broken contract is not final here: the effect may be there, and only another
// observation tells.
func (i inverse) Apply(ctx context.Context, action incident.Action, key string) (driver.Receipt, error) {
	h, resource, err := i.services.find(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	h, end := h.session()
	defer end()
	receipt, err := i.apply(ctx, h, resource, action, key)
	if err != nil {
		return driver.Receipt{}, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i inverse) apply(ctx context.Context, h *host, resource string, action incident.Action, key string) (driver.Receipt, error) {
	seen, etag, err := i.observe(ctx, h, resource)
	if err != nil {
		return driver.Receipt{}, err
	}
	switch seen.State.Digest {
	case action.To.Digest:
		return driver.Receipt{Detail: "the resource was there already"}, nil
	case action.From.Digest:
	default:
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: seen.State, Difference: seen.Detail}
	}
	body, err := json.Marshal(wanted{Type: wantedType, Data: wantedData{Host: h.name, Resource: resource, Key: key, From: action.From, To: action.To}})
	if err != nil {
		return driver.Receipt{}, fmt.Errorf("encode request: %w", err)
	}
	x, err := h.do(ctx, exchange{
		method: http.MethodPost, resource: resource, body: body, key: key,
		message: messageID(h.name, resource, key), ifMatch: etag, at: i.services.now(),
	})
	if err != nil {
		return driver.Receipt{}, err
	}
	var d done
	if err := decode(x.answer, &d); err != nil {
		return driver.Receipt{}, err
	}
	return d.hold(x.status, action)
}

// hold checks the answer to a POST against the action that it is for.
func (d done) hold(status int, action incident.Action) (driver.Receipt, error) {
	state, err := d.State.named()
	if err != nil {
		return driver.Receipt{}, err
	}
	if (status == http.StatusPreconditionFailed) != (d.Result == resultDrift) {
		return driver.Receipt{}, violation("the status and the result contradict each other")
	}
	atTo := state.Digest == action.To.Digest
	switch d.Result {
	case resultApplied, resultAlready:
		if !atTo {
			return driver.Receipt{}, violation("the result says that the resource is at \"to\" and names another state")
		}
		return driver.Receipt{Mutated: d.Result == resultApplied, Detail: line(d.Detail)}, nil
	case resultDrift:
		if difference := line(d.Detail); !atTo && difference != "" {
			return driver.Receipt{}, &driver.DriftError{Action: action, Observed: state, Difference: difference}
		}
		return driver.Receipt{}, violation("the result says that the resource has drifted and names no difference")
	default:
		return driver.Receipt{}, violation("the result is unknown")
	}
}
