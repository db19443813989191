package product

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/approvals/whatif"
	"github.com/backout/backout/bot"
	"github.com/backout/backout/workflows/incident"
)

// unreadableError is a file that is not understood: its author has to correct it, as
// a wrong call is to be corrected by its caller.
type unreadableError struct{ error }

// Unwrap is what is wrong with it.
func (u unreadableError) Unwrap() error { return u.error }

// Is makes the command exit like one that was not understood.
func (u unreadableError) Is(target error) bool { return target == errUsage }

func (p *program) policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Check, try and explain the policy", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(p.policyCheckCommand(), p.policyTestCommand(), p.policyExplainCommand(), &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of policies", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { _, err := p.stdout.Write(approvals.Schema); return err },
	}, &cobra.Command{
		Use: "inputs", Short: "List what the conditions of a policy can ask about", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return printInputs(p.stdout) },
	})
	return c
}

func printInputs(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, in := range approvals.Inputs() {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", in.Name, in.Type, in.Meaning)
	}
	return w.Flush()
}

// policy is that of a file, or of the configuration. A file that is not
// understood is an error with file and line, and never the default.
func (p *program) policy(file string) (*approvals.Policy, error) {
	if file == "" {
		config, err := p.load()
		if err != nil {
			return nil, err
		}
		file = config.Policy
	}
	policy, err := LoadPolicy(file)
	if err != nil {
		return nil, unreadableError{err}
	}
	return policy, nil
}

func (p *program) policyCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Read a policy and print its digest and tiers",
		Long: "Read a policy, strictly, and print its digest and its tiers. Without a file: that of\nthe configuration. Exits 2 and names file, line and column when it is not understood.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			} else if config, err := p.load(); err != nil {
				return err
			} else if _, err := LoadRules(Config{Policy: config.Policy, Catalogue: config.Catalogue}); err != nil {
				return unreadableError{err}
			}
			policy, err := p.policy(file)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(p.stdout, "policy %s\n", policy.Digest())
			w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
			for _, t := range policy.Tiers() {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", t.Tier, strings.Join(t.When, ", "), strings.Join(t.Needs, "; "))
			}
			return w.Flush()
		},
	}
}

func (p *program) policyTestCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "test CASES", Short: "Try the policy on a file of cases",
		Long: "Try a policy on cases: this plan, this blast radius, these answers, and what should\ncome of it. Exits 1 when a case comes out in another way, 2 when a file is not understood.",
		Args: exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			policy, err := p.policy(file)
			if err != nil {
				return err
			}
			content, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read cases: %w", err)
			}
			cases, err := whatif.Parse(approvals.File{Name: args[0], Content: content})
			if err != nil {
				return unreadableError{err}
			}
			return printCases(p.stdout, policy, whatif.Run(policy, cases))
		},
	}
	c.Flags().StringVar(&file, "policy", "", "policy `file` (default: that of the configuration)")
	return c
}

func printCases(out io.Writer, policy *approvals.Policy, results []whatif.Result) error {
	_, _ = fmt.Fprintf(out, "policy %s\n", policy.Digest())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	failed := 0
	for _, r := range results {
		mark := "ok"
		if len(r.Differences) > 0 {
			mark = "DIFFERS"
			failed++
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", mark, r.Case.Name, r.Tier, r.Outcome, r.Sentence)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		for _, d := range r.Differences {
			_, _ = fmt.Fprintf(out, "%s: %s: %s\n", r.Case.At, r.Case.Name, d)
		}
	}
	_, _ = fmt.Fprintf(out, "%d cases, %d differ\n", len(results), failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d cases came out in another way", failed, len(results))
	}
	return nil
}

func (p *program) policyExplainCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "explain INCIDENT", Short: "Say for each option of an incident who has to decide, and why",
		Long: "Ask the running Backout for an incident, and say for each of its options the tier, why,\nwho is needed, and which answers count. The sentences are those of the policy given here.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := p.policy(file)
			if err != nil {
				return err
			}
			return p.explain(cmd.Context(), policy, args[0])
		},
	}
	c.Flags().StringVar(&file, "policy", "", "policy `file` (default: that of the configuration)")
	return c
}

func (p *program) explain(ctx context.Context, policy *approvals.Policy, key string) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	var v incident.View
	if err := r.call(ctx, "view", bot.ViewCall{Key: key}, &v); err != nil {
		return err
	}
	return explainView(p.stdout, policy, v, time.Now().UTC())
}

// explainView explains every option. Text from outside is quoted.
func explainView(out io.Writer, policy *approvals.Policy, v incident.View, now time.Time) error {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	say("%s %s %s", v.Key, v.Severity, v.Phase)
	say("policy %s", policy.Digest())
	for _, d := range v.Decisions {
		if d.PolicyDigest != "" && d.PolicyDigest != policy.Digest() {
			say("note: decision %q was judged by another policy, %s", d.ID, d.PolicyDigest)
		}
	}
	if len(v.Options) == 0 {
		say("There is no option to decide on.")
	}
	for _, o := range v.Options {
		say("")
		say("%s %q plan %s", o.ID, o.Title, incident.ShortDigest(o.Digest))
		say("  tier      %s: %s", o.Tier, o.TierReason)
		tier := o.Tier
		j := policy.Judge(approvals.Situation{Plan: o.Plan, Rung: o.Rung, Radius: o.Radius, Severity: v.Severity, SLOBurn: o.SLOBurn, At: now})
		if j.Tier != o.Tier {
			say("  now       %s: %s", j.Tier, j.Reason)
			tier = max(tier, j.Tier)
		}
		if len(j.Unknown) > 0 {
			say("  not known %s", joined(j.Unknown))
		}
		if o.Blocked {
			say("  blocked   the preflight forbids it; nobody can approve it")
		}
		res := policy.Evaluate(explained(o, v.Decisions, tier, now))
		say("  outcome   %s: %s", res.Outcome, res.Sentence)
		explainTree(say, res.Tree)
	}
	return nil
}

func explainTree(say func(string, ...any), n approvals.Node) {
	for _, c := range n.Children {
		say("  %-9s %s", c.Status, c.Sentence)
	}
	for _, d := range n.Dismissed {
		say("  no        %s", d.Reason)
	}
}

func joined(facts []approvals.Fact) string {
	names := make([]string, len(facts))
	for i, f := range facts {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// explained is the question that the policy is asked about an option. Answers
// that were voided, or used up by a rollback, have no force any more.
func explained(o incident.Option, decisions []incident.Decision, tier incident.Tier, now time.Time) approvals.Request {
	req := approvals.Request{Tier: tier, PlanDigest: o.Digest, ChangeAuthors: o.Authors, Now: now}
	for _, s := range o.Radius.Services {
		req.Services = append(req.Services, s.Name)
	}
	for _, d := range decisions {
		switch {
		case d.OptionID != o.ID || d.Outcome == incident.OutcomeStale:
		case d.Outcome == incident.OutcomeApproved && d.PlanDigest == o.Digest:
			req.Votes = nil
		default:
			req.Votes = append(req.Votes, approvals.Vote{
				Person: d.Person, Roles: d.Roles, Answer: d.Answer, At: d.At, PlanDigest: d.PlanDigest, Reason: d.Reason, BreakGlass: d.BreakGlass,
				SteppedUp: d.StepUp != nil && d.StepUp.PlanDigest == d.PlanDigest,
			})
		}
	}
	return req
}
