package bot

import (
	"context"
	"strings"

	"github.com/slack-go/slack"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// interaction answers buttons and modals.
func (d *desk) interaction(ctx context.Context, c slack.InteractionCallback) answer {
	who := person{
		actor:   incident.Actor{Via: incident.ViaSlack, SlackTeam: teamOf(c), SlackUser: c.User.ID, Channel: channelOf(c)},
		channel: channelOf(c), thread: c.Container.ThreadTs, responseURL: c.ResponseURL, trigger: c.TriggerID, began: d.now(),
	}
	if who.actor.Validate() != nil {
		return answer{taken: true}
	}
	switch c.Type {
	case slack.InteractionTypeBlockActions:
		return d.click(ctx, c, who)
	case slack.InteractionTypeViewSubmission:
		// The same modal submitted twice is one submission.
		who.id = requestID("view", c.View.ID)
		return d.submission(ctx, c, who)
	default:
		return answer{taken: true} // a closed modal, a menu of another app
	}
}

// teamOf is the workspace of the person, which differs from the app's in
// channels that two workspaces share.
func teamOf(c slack.InteractionCallback) string {
	if c.User.TeamID != "" {
		return c.User.TeamID
	}
	return c.Team.ID
}

func channelOf(c slack.InteractionCallback) string {
	if c.Channel.ID != "" {
		return c.Channel.ID
	}
	return c.Container.ChannelID
}

// click answers a button. Only the first action counts: Slack sends one.
func (d *desk) click(ctx context.Context, c slack.InteractionCallback, who person) answer {
	if len(c.ActionCallback.BlockActions) == 0 || c.TriggerID == "" {
		return answer{taken: true}
	}
	action := c.ActionCallback.BlockActions[0]
	name, suffix := views.SplitAction(action.ActionID)
	who.id = requestID("click", who.actor.SlackTeam, who.actor.SlackUser, c.TriggerID, action.ActionID)
	value := action.Value
	if value == "" {
		value = action.SelectedOption.Value // It was chosen from a menu.
	}
	card, taken := d.pressed(ctx, name, suffix, value, who)
	if card != nil {
		d.tellLater(ctx, who, *card)
	}
	return answer{taken: taken}
}

// pressed does what a button says.
func (d *desk) pressed(ctx context.Context, name, suffix, value string, who person) (*views.Card, bool) {
	switch name {
	case views.ActionDeclare:
		return d.declare(ctx, declaration{severity: defaultSeverity}, who)
	case views.ActionList:
		return d.list(ctx, who)
	case views.ActionHelp:
		return said(views.Help(d.Command))
	case views.ActionPick:
		pick, err := views.ParsePick(value)
		if err != nil {
			return d.tampered(ctx, err)
		}
		o := parse(pick.Text)
		o.key = pick.Key
		return d.obey(ctx, o, who)
	case views.ActionStatus, views.ActionApprove, views.ActionRefuse, views.ActionCommand, views.ActionBreakGlass:
	default:
		return nil, true // a link, or a button that a newer version made
	}
	ref, err := views.ParseRef(value)
	if err != nil {
		return d.tampered(ctx, err)
	}
	switch name {
	case views.ActionStatus:
		return d.obey(ctx, order{verb: "status", key: ref.Key}, who)
	case views.ActionCommand:
		if incident.Verb(suffix) == incident.VerbHandOver {
			ref.Channel = who.channel
			return d.openModal(ctx, who, views.HandOverModal(ref))
		}
		q := incident.CommandRequest{CommandID: who.id, Verb: incident.Verb(suffix), Actor: who.actor, At: d.now().UTC()}
		receipt, err := d.gateway.SendCommand(d.bounded(ctx, who), ref.Key, q)
		return d.recorded(ctx, receipt, err, ref.Key, who)
	case views.ActionRefuse, views.ActionBreakGlass:
		if ref.Option == "" || ref.Digest == "" {
			return said(views.Tampered)
		}
		ref.Channel = who.channel
		if name == views.ActionBreakGlass {
			return d.openModal(ctx, who, views.BreakGlassModal(ref))
		}
		return d.openModal(ctx, who, views.RefuseModal(ref))
	default:
		return d.decide(ctx, ref, given{answer: incident.AnswerApprove}, who)
	}
}

// given is what a person answered.
type given struct {
	answer incident.Answer
	reason string
	// glass says that they approve past the policy.
	glass bool
}

// decide sends an answer to exactly the plan that the person saw.
func (d *desk) decide(ctx context.Context, ref views.Ref, g given, who person) (*views.Card, bool) {
	receipt, err := d.gateway.SendDecision(d.bounded(ctx, who), ref.Key, incident.DecideRequest{
		DecisionID: who.id, OptionID: ref.Option, PlanDigest: ref.Digest, Revision: ref.Revision, Actor: who.actor,
		Answer: g.answer, Reason: g.reason, BreakGlass: g.glass, At: d.now().UTC(),
	})
	return d.recorded(ctx, receipt, err, ref.Key, who)
}

// recorded acknowledges at once and tells the person the result when it is
// there: a click is answered by Slack with nothing but its acknowledgement.
func (d *desk) recorded(ctx context.Context, receipt Receipt, err error, key string, who person) (*views.Card, bool) {
	if err != nil {
		return d.refused(ctx, err, key)
	}
	d.resultLater(ctx, receipt, key, who)
	return nil, true
}

func (d *desk) tampered(ctx context.Context, err error) (*views.Card, bool) {
	d.log.WarnContext(ctx, "refuse button", "error", err)
	return said(views.Tampered)
}

// submission answers a modal. What could not be recorded stays in the modal,
// so that nothing a person wrote is lost.
func (d *desk) submission(ctx context.Context, c slack.InteractionCallback, who person) answer {
	meta, err := views.ParseMetadata(c.View.PrivateMetadata)
	if err != nil || c.View.ID == "" {
		d.log.WarnContext(ctx, "refuse modal", "error", err)
		return answer{taken: true}
	}
	who.channel = meta.Channel
	who.actor.Channel = meta.Channel
	switch c.View.CallbackID {
	case views.CallbackRefuse, views.CallbackBreakGlass:
		g := given{answer: incident.AnswerRefuse, reason: reason(strings.Fields(input(c, views.InputReason)))}
		if c.View.CallbackID == views.CallbackBreakGlass {
			g.answer, g.glass = incident.AnswerApprove, true
		}
		if meta.Ref == nil || g.reason == "" {
			return modalErrors(views.InputReason, views.Usage(c.View.CallbackID+" needs a reason"))
		}
		card, taken := d.decide(ctx, *meta.Ref, g, who)
		return d.closed(ctx, card, taken, views.InputReason, who)
	case views.CallbackHandOver:
		to := input(c, views.InputPerson)
		if meta.Ref == nil || to == "" {
			return modalErrors(views.InputPerson, views.Usage("handover needs a person"))
		}
		receipt, err := d.gateway.SendCommand(d.bounded(ctx, who), meta.Ref.Key, incident.CommandRequest{
			CommandID: who.id, Verb: incident.VerbHandOver, Actor: who.actor, At: d.now().UTC(),
			To: &incident.Actor{Via: incident.ViaSlack, SlackTeam: who.actor.SlackTeam, SlackUser: to},
		})
		card, taken := d.recorded(ctx, receipt, err, meta.Ref.Key, who)
		return d.closed(ctx, card, taken, views.InputPerson, who)
	case views.CallbackDeclare:
		w := declaration{service: input(c, views.InputService), title: strings.Join(strings.Fields(input(c, views.InputTitle)), " ")}
		if w.severity, err = incident.ParseSeverity(input(c, views.InputSeverity)); err != nil {
			return modalErrors(views.InputSeverity, views.Unreadable)
		}
		if w.service == "" {
			return modalErrors(views.InputService, views.Unreadable)
		}
		if w.title == "" {
			return modalErrors(views.InputTitle, views.Unreadable)
		}
		card, taken, may := d.mayDeclare(ctx, who)
		if may {
			card, taken = d.declared(ctx, w, who)
		}
		return d.closed(ctx, card, taken, views.InputTitle, who)
	default:
		return answer{taken: true}
	}
}

// closed closes a modal and tells the person the rest, or keeps it open with
// the reason.
func (d *desk) closed(ctx context.Context, card *views.Card, taken bool, block string, who person) answer {
	if !taken {
		return modalErrors(block, views.NotTaken)
	}
	if card != nil {
		d.tellLater(ctx, who, *card)
	}
	return answer{taken: true}
}

// modalErrors keeps a modal open and says why beside one of its inputs.
// Source: https://docs.slack.dev/surfaces/modals#displaying_errors
func modalErrors(block, words string) answer {
	return answer{taken: true, body: map[string]any{"response_action": "errors", "errors": map[string]string{block: words}}}
}

// input is what was entered into a modal's input.
func input(c slack.InteractionCallback, block string) string {
	if c.View.State == nil {
		return ""
	}
	for _, value := range c.View.State.Values[block] {
		if value.SelectedOption.Value != "" {
			return value.SelectedOption.Value
		}
		if value.SelectedUser != "" {
			return value.SelectedUser
		}
		return strings.TrimSpace(value.Value)
	}
	return ""
}
