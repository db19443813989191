package whatif

import (
	"fmt"
	"strings"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/workflows/incident"
)

// planDigest stands for the one plan of a case.
var planDigest = incident.DigestOf([]byte("the plan of the case"))

// Result is what the policy made of a case.
type Result struct {
	Case    Case
	Tier    incident.Tier
	Outcome incident.Outcome
	// Reason is why of the tier, and Sentence what becomes of the answers.
	Reason, Sentence string
	// Differences are lines for people; empty when the case came out as it
	// should.
	Differences []string
}

// Run tries every case on a policy, in their order.
func Run(p *approvals.Policy, cases []Case) []Result {
	out := make([]Result, 0, len(cases))
	for _, c := range cases {
		out = append(out, run(p, c))
	}
	return out
}

func run(p *approvals.Policy, c Case) Result {
	r := Result{Case: c}
	r.Tier, r.Reason = p.Tier(c.Situation)
	req := approvals.Request{
		Tier: r.Tier, PlanDigest: planDigest, Requester: c.Requester, ChangeAuthors: c.Authors, Votes: c.Votes,
		VoidBefore: c.VoidBefore, Now: c.Situation.At,
	}
	for _, s := range c.Situation.Radius.Services {
		req.Services = append(req.Services, s.Name)
	}
	got := p.Evaluate(req)
	r.Outcome, r.Sentence = got.Outcome, got.Sentence
	differs := func(what, got, want string, same bool) {
		if want != "" && !same {
			r.Differences = append(r.Differences, fmt.Sprintf("%s is %q, want %q", what, got, want))
		}
	}
	w := c.Want
	differs("tier", r.Tier.String(), w.Tier, r.Tier.String() == w.Tier)
	differs("outcome", string(r.Outcome), string(w.Outcome), r.Outcome == w.Outcome)
	differs("reason", r.Reason, w.Reason, strings.Contains(r.Reason, w.Reason))
	differs("sentence", r.Sentence, w.Sentence, strings.Contains(r.Sentence, w.Sentence))
	return r
}
