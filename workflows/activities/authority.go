package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// authorityGrace is how much longer than the sum of its actions' maximum times
// a rollback keeps the authority with which its first action was carried out.
const authorityGrace = time.Minute

// basis is what a decision was judged by, as the ledger keeps it, so that it
// can be judged again before the effect.
type basis struct {
	// Rollback is the one rollback that the decision may start.
	Rollback   string               `json:"rollback,omitempty"`
	Tier       incident.Tier        `json:"tier"`
	Severity   incident.Severity    `json:"severity"`
	Radius     incident.BlastRadius `json:"radius"`
	Rung       incident.Rung        `json:"rung,omitempty"`
	SLOBurn    *incident.Measured   `json:"slo_burn,omitempty"`
	Authors    []string             `json:"authors,omitempty"`
	Requester  incident.Person      `json:"requester,omitzero"`
	VoidBefore time.Time            `json:"void_before,omitzero"`
}

// request asks the policy about a plan and the answers to it.
func (b basis) request(digest string, votes []approvals.Vote, now time.Time) approvals.Request {
	req := approvals.Request{
		Tier: b.Tier, PlanDigest: digest, Requester: b.Requester, ChangeAuthors: b.Authors,
		VoidBefore: b.VoidBefore, Votes: votes, Now: now,
	}
	for _, s := range b.Radius.Services {
		req.Services = append(req.Services, s.Name)
	}
	return req
}

// genuine checks that an action is what it says: a part of the plan that its
// digest names, under the one pair of IDs that it has in its rollback.
func genuine(in ExecuteInput) error {
	digest, err := in.Plan.Digest()
	if err != nil {
		return err
	}
	switch {
	case digest != in.PlanDigest:
		return fmt.Errorf("check plan: %w: it has digest %s, approved was %s", driver.ErrInvalid, incident.ShortDigest(digest), incident.ShortDigest(in.PlanDigest))
	case in.Plan.Incident != in.Incident || !incident.RollbackOf(in.Rollback, in.Incident):
		return fmt.Errorf("check plan: %w: plan and rollback are not of incident %q", driver.ErrDenied, in.Incident)
	case in.Index < 0 || in.Index >= len(in.Plan.Actions) || !isPart(in.Action, in.Plan.Actions[in.Index]):
		return fmt.Errorf("check plan: %w: action %d is not part of it", driver.ErrInvalid, in.Index)
	}
	if err := in.Plan.Validate(); err != nil {
		return fmt.Errorf("check plan: %w: %w", driver.ErrInvalid, err)
	}
	back := in.Action != in.Plan.Actions[in.Index]
	if in.IntentID != incident.IntentID(in.Rollback, in.Index, back) || in.OutcomeID != incident.OutcomeID(in.Rollback, in.Index, back) {
		return fmt.Errorf("check plan: %w: action %d of %q has other IDs in the ledger", driver.ErrInvalid, in.Index, in.Rollback)
	}
	return nil
}

// isPart reports whether an action is the planned one, or takes it back.
func isPart(action, planned incident.Action) bool {
	return action == planned || (planned.Reversible && action == planned.Swapped())
}

// authority is what the ledger says about who allowed a rollback.
type authority struct {
	policy *approvals.Policy
	// digest, basis and votes are what was decided.
	digest string
	basis  basis
	votes  []approvals.Vote
	// loaded is why the plan's runbook is not what it was; nil when it is.
	loaded error
	// windows are those that the approvals opened for objections, and taken is why an
	// approval was taken back; nil when it was not.
	windows []window
	taken   error
	// began is when the first action of this rollback was announced, and so
	// when it had been checked; zero if none was. lasts is for how long that
	// holds for the rest.
	began time.Time
	lasts time.Duration
}

// authority reads from the ledger who allowed a plan, and that evidence was
// captured for this rollback. It is an error when nobody allowed it.
func (a *Activities) authority(ctx context.Context, in ExecuteInput) (authority, error) {
	out := authority{policy: a.Policy, digest: in.PlanDigest, lasts: authorityGrace}
	_, out.loaded = a.runbook(in.Plan.Runbook, in.Plan.RunbookDigest)
	found := false
	for _, id := range in.DecisionIDs {
		var d judged
		_, there, err := a.recorded(ctx, id, in.Incident, incident.EventDecision, &d)
		if _, final := classify(err); final {
			continue
		} else if err != nil {
			return out, err
		}
		if !there || !a.vouched(id, in.Incident, d) || d.PlanDigest != in.PlanDigest || (d.Outcome != incident.OutcomeApproved && d.Outcome != incident.OutcomeWaiting) {
			continue
		}
		out.votes = append(out.votes, vote(d.Decision))
		if d.Outcome == incident.OutcomeApproved && d.Answer == incident.AnswerApprove && d.Basis != nil && d.Basis.Rollback == in.Rollback {
			found, out.basis = true, *d.Basis
			out.windows = append(out.windows, window{event: id, until: d.ObjectionsUntil, glass: d.BreakGlass})
		}
	}
	if !found {
		return out, fmt.Errorf("check approval: %w: the ledger has no decision that approves plan %s for %q", driver.ErrDenied, incident.ShortDigest(in.PlanDigest), in.Rollback)
	}
	present, _ := a.Policy.Tier(approvals.Situation{
		Plan: in.Plan, Rung: out.basis.Rung, Radius: out.basis.Radius, Severity: out.basis.Severity, SLOBurn: out.basis.SLOBurn, At: a.Now().UTC(),
	})
	out.basis.Tier = max(out.basis.Tier, present)
	if out.waits() {
		if err := a.objected(ctx, in, &out); err != nil {
			return out, err
		}
	}
	if err := a.evidenced(ctx, in); err != nil {
		return out, err
	}
	for i, action := range in.Plan.Actions {
		out.lasts += action.MaxTime
		var was announcement
		e, there, err := a.recorded(ctx, incident.IntentID(in.Rollback, i, false), in.Incident, incident.EventIntent, &was)
		if err != nil {
			return out, err
		}
		if there && was.Rollback == in.Rollback && was.PlanDigest == in.PlanDigest && (out.began.IsZero() || e.At.Before(out.began)) {
			out.began = e.At
		}
	}
	return out, nil
}

// evidenced checks that the ledger has the manifest of what was captured before
// this rollback.
func (a *Activities) evidenced(ctx context.Context, in ExecuteInput) error {
	var m incident.Manifest
	_, there, err := a.recorded(ctx, incident.EvidenceID(in.Rollback, incident.EvidenceBefore), in.Incident, incident.EventEvidence, &m)
	switch {
	case err != nil:
		return err
	case !there || m.Rollback != in.Rollback || m.Phase != incident.EvidenceBefore || !incident.ValidDigest(m.Digest):
		return fmt.Errorf("check evidence: %w: the ledger has none from before %q", driver.ErrDenied, in.Rollback)
	}
	return nil
}

// check says why nothing may be changed now. A rollback that has begun may be
// finished: an approval that expires halfway must not leave half of it.
func (t authority) check(now time.Time) error {
	if !t.began.IsZero() && now.Sub(t.began) <= t.lasts {
		return nil
	}
	if t.taken != nil {
		return t.taken
	}
	if t.loaded != nil {
		return fmt.Errorf("check approval: %w: %w", driver.ErrDenied, t.loaded)
	}
	res := t.policy.Evaluate(t.basis.request(t.digest, t.votes, now.UTC()))
	if res.Outcome != incident.OutcomeApproved {
		return fmt.Errorf("check approval: %w: %s", driver.ErrDenied, res.Sentence)
	}
	return t.early(res, now)
}
