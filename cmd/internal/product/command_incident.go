package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// callTimeout bounds one call of the API; a decision may have to ask Slack and
// PagerDuty who somebody is.
const callTimeout = 30 * time.Second

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 8 << 20

// remote calls the API of a running Backout.
type remote struct {
	url, token string
}

func (p *program) remote() (remote, error) {
	config, err := p.load()
	if err != nil {
		return remote{}, err
	}
	r := remote{url: config.URL}
	if u := p.getenv("BACKOUT_URL"); u != "" {
		r.url = strings.TrimSuffix(u, "/")
	}
	path := p.getenv("BACKOUT_TOKEN_FILE")
	if path == "" {
		path = config.API.TokensFile
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return remote{}, fmt.Errorf("read API token: %w; set BACKOUT_TOKEN_FILE to a file with your token", err)
	}
	// The file is a bare token, or the server's own file of "login token".
	fields := strings.Fields(string(content))
	if len(fields) == 0 {
		return remote{}, fmt.Errorf("read API token: %q is empty", path)
	}
	r.token = fields[min(len(fields), 2)-1]
	return r, nil
}

// call sends one call and fills in its answer.
func (r remote) call(ctx context.Context, name string, body, answer any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode call %q: %w", name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/api/v1/"+name, bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("call %q: %w", name, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("call Backout at %s: %w; is it running?", r.url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answered, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer to %q: %w", name, err)
	}
	if resp.StatusCode != http.StatusOK {
		var problem bot.Problem
		if json.Unmarshal(answered, &problem) == nil && problem.Error != "" {
			return errors.New(problem.Error)
		}
		return fmt.Errorf("call %q: %s", name, resp.Status)
	}
	if err := json.Unmarshal(answered, answer); err != nil {
		return fmt.Errorf("read answer to %q: %w", name, err)
	}
	return nil
}

func (p *program) incidentCommands() []*cobra.Command {
	inc := &cobra.Command{Use: "incident", Short: "Declare, list and show incidents", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	inc.AddCommand(p.declareCommand(), p.listCommand(), p.showCommand(),
		p.verbCommand("take-command INCIDENT", "Become the incident commander", incident.VerbTakeCommand),
		p.handoverCommand(),
		p.verbCommand("refresh INCIDENT", "Work the options out again", incident.VerbRefresh),
		p.verbCommand("escalate INCIDENT", "Page the next level", incident.VerbEscalate),
		p.verbCommand("close INCIDENT", "End an incident by hand", incident.VerbClose))
	roll := &cobra.Command{Use: "rollback", Short: "Cancel or undo a rollback", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	roll.AddCommand(p.verbCommand("cancel INCIDENT", "Stop a rollback before its next action", incident.VerbCancel),
		p.verbCommand("redo INCIDENT", "Offer to undo the last rollback", incident.VerbRedo))
	return []*cobra.Command{inc, roll, p.decideCommand("approve", incident.AnswerApprove), p.decideCommand("refuse", incident.AnswerRefuse)}
}

func (p *program) declareCommand() *cobra.Command {
	call := bot.DeclareCall{}
	var severity string
	c := &cobra.Command{
		Use: "declare --service NAME TITLE", Short: "Declare an incident by hand", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := incident.ParseSeverity(severity)
			if err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			call.Severity, call.Title, call.ID = s, strings.Join(args, " "), uuid.NewString()
			r, err := p.remote()
			if err != nil {
				return err
			}
			var answer bot.DeclareAnswer
			if err := r.call(cmd.Context(), "declare", call, &answer); err != nil {
				return err
			}
			_, err = fmt.Fprintln(p.stdout, word(answer.Key))
			return err
		},
	}
	c.Flags().StringVar(&call.Service, "service", "", "`name` of the service in the catalogue")
	c.Flags().StringVar(&severity, "severity", string(incident.Sev2), "sev1 to sev4")
	return c
}

func (p *program) listCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List open incidents", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		r, err := p.remote()
		if err != nil {
			return err
		}
		var answer bot.ListAnswer
		if err := r.call(cmd.Context(), "list", struct{}{}, &answer); err != nil {
			return err
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		for _, i := range answer.Incidents {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", word(i.Key), word(string(i.Severity)), word(i.Service), word(string(i.Phase)), i.StartedAt.UTC().Format(time.RFC3339))
		}
		return w.Flush()
	}}
}

func (p *program) view(ctx context.Context, key string) (remote, incident.View, error) {
	r, err := p.remote()
	if err != nil {
		return r, incident.View{}, err
	}
	var v incident.View
	return r, v, r.call(ctx, "view", bot.ViewCall{Key: key}, &v)
}

func (p *program) showCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "show INCIDENT", Short: "Show an incident with its options", Args: exactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		r, err := p.remote()
		if err != nil {
			return err
		}
		var v incident.View
		if err := r.call(cmd.Context(), "view", bot.ViewCall{Key: args[0]}, &v); err != nil {
			return err
		}
		if asJSON {
			return printJSON(p.stdout, v)
		}
		return printView(p.stdout, v)
	}}
	c.Flags().BoolVar(&asJSON, "json", false, "print the whole view as JSON")
	return c
}

// Bounds of what the command line shows of one text, in characters.
const (
	maxWord  = 200
	maxWords = 1000
)

// word and words are text that may be from outside on one line, without anything
// that a terminal acts on. An empty word is shown as a dash, so that columns stay.
func word(s string) string {
	if s = words(s); s == "" {
		return "-"
	}
	return views.Plain(s, maxWord)
}

func words(s string) string { return views.Plain(s, maxWords) }

func printView(out io.Writer, v incident.View) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n%q\n", word(v.Key), word(string(v.Severity)), word(v.Service), word(string(v.Phase)), words(v.Title))
	for _, o := range v.Options {
		state := o.Tier.String()
		if o.Blocked {
			state = "blocked"
		}
		if o.Recommended {
			state += ", recommended"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%q\t%s\t%s\n", word(o.ID), words(o.Title), state, incident.ShortDigest(o.Digest))
	}
	if v.Waiting != "" {
		_, _ = fmt.Fprintf(w, "waiting:\t%s\n", words(v.Waiting))
	}
	if o := v.Objections; o != nil {
		_, _ = fmt.Fprintf(w, "approved:\t%s, and starts at %s unless somebody objects\n", word(o.OptionID), o.Until.UTC().Format(time.RFC3339))
	}
	for _, e := range v.Timeline {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%q\n", e.At.UTC().Format("15:04:05"), word(e.ID), words(e.Text))
	}
	return w.Flush()
}

// decideCommand answers an option as it is now, or as its digest was seen.
func (p *program) decideCommand(name string, answer incident.Answer) *cobra.Command {
	call := bot.DecideCall{Answer: answer}
	c := &cobra.Command{
		Use: name + " INCIDENT OPTION --digest DIGEST", Args: exactArgs(2),
		Short: strings.ToUpper(name[:1]) + name[1:] + " an option by its plan digest",
		Long:  "Decide on an option. The digest is that of the plan you saw with `incident show`;\nits first eight digits are enough. If the plan has changed since, nothing is done.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, v, err := p.view(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			o, ok := v.Option(args[1])
			if !ok {
				return fmt.Errorf("incident %s has no option %q; see %s incident show", args[0], args[1], p.name)
			}
			if len(call.PlanDigest) < 8 || !strings.HasPrefix(strings.TrimPrefix(o.Digest, "sha256:"), strings.TrimPrefix(call.PlanDigest, "sha256:")) {
				return fmt.Errorf("%w: the plan of %s has digest %s; look at it with %s incident show, then pass --digest", errUsage, o.ID, incident.ShortDigest(o.Digest), p.name)
			}
			call.Key, call.OptionID, call.PlanDigest, call.Revision, call.DecisionID = v.Key, o.ID, o.Digest, v.Revision, uuid.NewString()
			var res incident.Result
			if err := r.call(cmd.Context(), "decide", call, &res); err != nil {
				return err
			}
			return p.said(res)
		},
	}
	c.Flags().StringVar(&call.PlanDigest, "digest", "", "`digest` of the plan, at least eight digits")
	c.Flags().StringVar(&call.Reason, "reason", "", "why; required to refuse, and for break-glass")
	c.Flags().BoolVar(&call.BreakGlass, "break-glass", false, "decide alone, loudly; reviewed afterwards")
	return c
}

func (p *program) verbCommand(use, short string, verb incident.Verb) *cobra.Command {
	call := bot.CommandCall{Verb: verb}
	c := &cobra.Command{Use: use, Short: short, Args: exactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		r, err := p.remote()
		if err != nil {
			return err
		}
		call.Key, call.CommandID = args[0], uuid.NewString()
		var res incident.Result
		if err := r.call(cmd.Context(), "command", call, &res); err != nil {
			return err
		}
		return p.said(res)
	}}
	c.Flags().StringVar(&call.Reason, "reason", "", "why")
	return c
}

func (p *program) handoverCommand() *cobra.Command {
	call := bot.CommandCall{Verb: incident.VerbHandOver}
	c := &cobra.Command{
		Use: "handover INCIDENT LOGIN", Short: "Make another person incident commander", Args: exactArgs(2),
		Long: "Hand over the command to the person who has that login at the command line and\nthe console. Only the incident commander may; when there is none, the on-call\nand the owners of the service. Approvals that are waiting become void.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := p.remote()
			if err != nil {
				return err
			}
			call.Key, call.To, call.CommandID = args[0], args[1], uuid.NewString()
			var res incident.Result
			if err := r.call(cmd.Context(), "command", call, &res); err != nil {
				return err
			}
			return p.said(res)
		},
	}
	c.Flags().StringVar(&call.Reason, "reason", "", "why")
	return c
}

// said prints a result; anything that did not count exits 1.
func (p *program) said(r incident.Result) error {
	_, _ = fmt.Fprintf(p.stdout, "%s: %s\n", word(string(r.Outcome)), words(r.Reason))
	switch r.Outcome {
	case incident.OutcomeApproved, incident.OutcomeWaiting, incident.OutcomeAccepted, incident.OutcomeRefused, incident.OutcomeDuplicate:
		return nil
	case incident.OutcomeDenied, incident.OutcomeStale, incident.OutcomeLate, incident.OutcomeUnidentified:
		return errors.New("nothing was done")
	default:
		return errors.New("nothing was done")
	}
}
