package bot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/workflows/incident"
)

// laterWait is how long the result of a recorded update is waited for behind
// the acknowledgement.
const laterWait = 2 * time.Minute

// maxLater is how many results are waited for at a time.
const maxLater = 256

// maxLooked is how many open incidents are looked at to find the one whose
// card is in a channel.
const maxLooked = 50

// SlackOptions connect a Slack workspace.
type SlackOptions struct {
	// API opens modals and tells people things. Required.
	API *slack.Client
	// SigningSecret verifies requests over HTTP. Without it, HTTP requests of
	// Slack are refused and only Socket Mode works.
	SigningSecret string
	// Command is the name of the slash command, such as "/rollback". Required.
	Command string
	// Services are the catalogue's names, for the declare modal. Nil means none.
	Services func() []string
	// Colleague returns nil for an active full member of the workspace, who may
	// declare incidents, and an error that wraps incident.ErrNoIdentity for anybody
	// else. Nil lets everybody declare who can reach the app.
	Colleague func(ctx context.Context, a incident.Actor) error
	// KeyAt is the key of the incident whose card is that message, empty if it
	// is none. Nil means that cards are found by the incidents' own views.
	KeyAt func(ctx context.Context, channel, ts string) (string, error)
	// PinEmoji is the name of the emoji that puts a message into the timeline of its
	// incident; empty for none.
	PinEmoji string
	// ThreadOf is the parent of a message that is a reply, empty for one that is none.
	// Without it a message belongs to the only open incident of its channel.
	ThreadOf func(ctx context.Context, channel, ts string) (string, error)
	// Console is the address of the console, where plans that need a second proof
	// are approved. Empty means that there is no login, and no link to it.
	Console string
}

// desk answers what people do in Slack, the same over HTTP and Socket Mode.
type desk struct {
	SlackOptions

	gateway *Gateway
	log     *slog.Logger
	now     func() time.Time
	waits   waits
	http    *http.Client

	// later are the answers that follow an acknowledgement; none is begun once
	// the desk is over.
	laterMu  sync.Mutex
	over     bool
	later    sync.WaitGroup
	slots    chan struct{}
	lifetime context.Context
	end      context.CancelFunc
}

// answer is what a request is acknowledged with.
type answer struct {
	// taken says that it may be acknowledged: everything it asked for is
	// durable, or there was nothing to keep.
	taken bool
	// body is sent with the acknowledgement; nil for none.
	body any
}

// person is who did something, and where they can be told about it.
type person struct {
	actor       incident.Actor
	channel     string
	thread      string
	responseURL string
	// trigger opens modals; empty where none can be opened.
	trigger string
	// id is unique to what they did, and the same when it is repeated.
	id string
	// began is when the request came in.
	began time.Time
}

// requestID is unique to a request and the same for its repetitions: what
// Slack says about it, hashed.
func requestID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "slack-" + hex.EncodeToString(sum[:16])
}

// command answers the slash command. The answer is private.
func (d *desk) command(ctx context.Context, c slack.SlashCommand) answer {
	who := person{
		actor:   incident.Actor{Via: incident.ViaSlack, SlackTeam: c.TeamID, SlackUser: c.UserID, Channel: c.ChannelID},
		channel: c.ChannelID, responseURL: c.ResponseURL, trigger: c.TriggerID,
		id: requestID("command", c.TeamID, c.UserID, c.TriggerID), began: d.now(),
	}
	if who.actor.Validate() != nil || c.TriggerID == "" {
		return answer{taken: true, body: ephemeral(views.Said(views.Unreadable))}
	}
	card, _ := d.obey(ctx, parse(c.Text), who)
	if card == nil {
		return answer{taken: true}
	}
	// A command whose update was not recorded is acknowledged with words that
	// say so: Slack would show "failed" without a reason otherwise.
	return answer{taken: true, body: ephemeral(*card)}
}

// mention answers a mention of the app, in a thread or not.
func (d *desk) mention(ctx context.Context, e envelope) answer {
	who := person{
		actor:   incident.Actor{Via: incident.ViaSlack, SlackTeam: e.team(), SlackUser: e.Event.User, Channel: e.Event.Channel},
		channel: e.Event.Channel, thread: e.Event.ThreadTS,
		id: requestID("event", e.EventID), began: d.now(),
	}
	if e.Event.BotID != "" || who.actor.Validate() != nil || e.EventID == "" {
		return answer{taken: true}
	}
	card, taken := d.obey(ctx, parse(e.Event.Text), who)
	if !taken {
		return answer{} // Slack sends it again
	}
	if card != nil {
		d.tellLater(ctx, who, *card)
	}
	return answer{taken: true}
}

// obey does what was typed. The card is what the person is told, nil for
// nothing more; taken is false when an update could not be recorded.
func (d *desk) obey(ctx context.Context, o order, who person) (card *views.Card, taken bool) {
	switch o.verb {
	case "":
		return told(views.Menu(d.Command))
	case "help":
		return said(views.Help(d.Command))
	case "list":
		return d.list(ctx, who)
	case "declare":
		return d.declare(ctx, parseDeclaration(o.rest, d.services()), who)
	case "status", "approve", "break-glass", "refuse":
	default:
		if _, known := verbs[o.verb]; !known {
			return said(views.UnknownCommand(d.Command, o.verb))
		}
	}
	v, choice, err := d.which(ctx, o, who)
	switch {
	case errors.Is(err, ErrNoIncident):
		return said(views.NoIncident)
	case err != nil:
		d.log.WarnContext(ctx, "look up incident", "error", err)
		return untaken()
	case choice != nil:
		return choice, true
	}
	return d.onIncident(ctx, o, v, who)
}

// onIncident does what was typed to one incident.
func (d *desk) onIncident(ctx context.Context, o order, v incident.View, who person) (*views.Card, bool) {
	if d.Console != "" {
		v.ConsoleURL = ConsoleURL(d.Console, v.Key)
	}
	if verb, ok := verbs[o.verb]; ok {
		q := incident.CommandRequest{CommandID: who.id, Verb: verb, Actor: who.actor, Reason: reason(o.rest), At: d.now().UTC()}
		if wrong := names(o, &q); wrong != "" {
			return said(views.Usage(wrong))
		}
		receipt, err := d.gateway.SendCommand(d.bounded(ctx, who), v.Key, q)
		return d.result(ctx, receipt, err, v.Key, who)
	}
	if o.verb == "status" {
		return told(views.NewCard(v))
	}
	if len(o.rest) == 0 {
		return said(views.Usage(o.verb + " needs an option, such as o1"))
	}
	opt, ok := v.Option(o.rest[0])
	if !ok {
		return said(views.Usage("there is no option " + o.rest[0] + " now"))
	}
	words := o.rest[1:]
	q := incident.DecideRequest{
		DecisionID: who.id, OptionID: opt.ID, PlanDigest: opt.Digest, Revision: v.Revision, Actor: who.actor, At: d.now().UTC(),
	}
	switch o.verb {
	case "approve", "break-glass":
		// An approval counts for the plan that the person saw. Typed without
		// one, it is answered with the plan and a button.
		if len(words) == 0 || !isShortDigest(words[0]) {
			return told(views.Preview(v, opt))
		}
		if words[0] != incident.ShortDigest(opt.Digest) {
			return said(views.Told(incident.Result{Outcome: incident.OutcomeStale}))
		}
		q.Answer, q.BreakGlass, q.Reason = incident.AnswerApprove, o.verb == "break-glass", reason(words[1:])
		if q.BreakGlass && q.Reason == "" {
			return said(views.Usage("break-glass needs a reason"))
		}
	default:
		if q.Answer, q.Reason = incident.AnswerRefuse, reason(words); q.Reason == "" {
			return said(views.Usage("refuse needs a reason"))
		}
	}
	receipt, err := d.gateway.SendDecision(d.bounded(ctx, who), v.Key, q)
	return d.result(ctx, receipt, err, v.Key, who)
}

// names puts whom the command is for into the request, and says what is wrong.
// Command with a person behind it is a handover; a name that Slack did not resolve
// to an account is nobody, and never the person who typed it.
func names(o order, q *incident.CommandRequest) (wrong string) {
	first := ""
	if len(o.rest) > 0 {
		first = o.rest[0]
	}
	switch {
	case q.Verb != incident.VerbTakeCommand && q.Verb != incident.VerbHandOver:
		return ""
	case q.Verb == incident.VerbTakeCommand && (first == "" || !strings.ContainsAny(first[:1], "@<")):
		return "" // They take it themselves; who else is mentioned is a part of the reason.
	case !personMention.MatchString(first):
		return o.verb + " needs a person; mention them, as Slack offers them when you type their name after an at sign"
	case len(o.named) != 1:
		return o.verb + " needs one person, and you named several"
	default:
		q.Verb, q.To = incident.VerbHandOver, &incident.Actor{Via: incident.ViaSlack, SlackTeam: q.Actor.SlackTeam, SlackUser: o.named[0]}
		return ""
	}
}

// result is what a person is told about an update: its result if that is there
// in time, and otherwise that it is recorded, with the result to follow.
func (d *desk) result(ctx context.Context, receipt Receipt, err error, key string, who person) (*views.Card, bool) {
	if err != nil {
		return d.refused(ctx, err, key)
	}
	wait, cancel := context.WithTimeout(ctx, max(d.waits.answer-d.now().Sub(who.began), 0))
	defer cancel()
	res, err := receipt.Result(wait)
	if err == nil {
		return said(views.Told(res))
	}
	d.resultLater(ctx, receipt, key, who)
	return said(views.Pending)
}

// refused says why an update was not recorded; taken where it never can be.
func (d *desk) refused(ctx context.Context, err error, key string) (*views.Card, bool) {
	switch {
	case errors.Is(err, ErrNoIncident):
		return said(views.Gone)
	case errors.Is(err, ErrInvalid):
		d.log.InfoContext(ctx, "refuse update", "incident_id", key, "error", err)
		return said(views.Unreadable)
	default:
		d.log.WarnContext(ctx, "send update", "incident_id", key, "error", err)
		return untaken()
	}
}

// resultLater tells the person what became of a recorded update.
func (d *desk) resultLater(ctx context.Context, receipt Receipt, key string, who person) {
	d.behind(ctx, func(ctx context.Context) {
		res, err := receipt.Result(ctx)
		if err != nil {
			d.log.WarnContext(ctx, "get result", "incident_id", key, "error", err)
			return
		}
		d.tell(ctx, who, views.Said(views.Told(res)))
	})
}

// list shows the open incidents.
func (d *desk) list(ctx context.Context, who person) (*views.Card, bool) {
	list, whole, err := d.open(d.bounded(ctx, who))
	if err != nil || (len(list) == 0 && !whole) {
		d.log.WarnContext(ctx, "list incidents", "error", err)
		return untaken()
	}
	return told(views.OpenIncidents(list))
}

// declare opens the modal, or declares at once when it was told enough.
func (d *desk) declare(ctx context.Context, w declaration, who person) (*views.Card, bool) {
	if card, taken, may := d.mayDeclare(ctx, who); !may {
		return card, taken
	}
	if w.service == "" || w.title == "" {
		if who.trigger == "" {
			return said(views.Usage("declare needs a service and a title: declare sev2 checkout the basket is empty"))
		}
		return d.openModal(ctx, who, views.DeclareModal(views.Declaration{Services: d.services(), Title: w.title, Channel: who.channel}))
	}
	return d.declared(ctx, w, who)
}

// mayDeclare reports whether a person may declare an incident, and if not what
// they are told. Who can not be asked about declares nothing.
func (d *desk) mayDeclare(ctx context.Context, who person) (card *views.Card, taken, may bool) {
	if d.Colleague == nil {
		return nil, true, true
	}
	err := d.Colleague(d.bounded(ctx, who), who.actor)
	switch {
	case err == nil:
		return nil, true, true
	case errors.Is(err, incident.ErrNoIdentity):
		d.log.InfoContext(ctx, "refuse declaration", "actor", who.actor.String(), "error", err)
		card, taken = said(views.NoColleague)
		return card, taken, false
	default:
		d.log.WarnContext(ctx, "ask who declares", "actor", who.actor.String(), "error", err)
		card, taken = untaken()
		return card, taken, false
	}
}

func (d *desk) declared(ctx context.Context, w declaration, who person) (*views.Card, bool) {
	now := d.now().UTC()
	_, err := d.gateway.Page(d.bounded(ctx, who), incident.Page{
		EventID: who.id, Source: incident.SourceSlack, Kind: incident.PageTriggered, IncidentID: declaredID(who.id),
		Title: w.title, Severity: w.severity, Service: w.service, OccurredAt: now, OpenedAt: now, Channel: who.channel, Reporter: who.actor,
	})
	if err != nil {
		return d.refused(ctx, err, "")
	}
	return said(views.Declared)
}

// declaredID names an incident by the request that declared it, so that a
// repeated request declares nothing twice.
func declaredID(id string) string {
	_, hash, _ := strings.Cut(id, "-")
	return "D" + strings.ToUpper(hash[:min(len(hash), 12)])
}

func (d *desk) openModal(ctx context.Context, who person, modal slack.ModalViewRequest) (*views.Card, bool) {
	ctx = d.bounded(ctx, who)
	if _, err := d.API.OpenViewContext(ctx, who.trigger, modal); err != nil {
		d.log.WarnContext(ctx, "open modal", "callback_id", modal.CallbackID, "code", code(err))
		return said(views.Usage("the form could not be opened; type the command with everything in it instead"))
	}
	return nil, true
}

func (d *desk) services() []string {
	if d.Services == nil {
		return nil
	}
	return d.Services()
}

// reason is words as a reason, cut to what an incident keeps.
func reason(words []string) string {
	r := []rune(strings.Join(words, " "))
	return string(r[:min(len(r), incident.MaxReason)])
}

func told(c views.Card) (*views.Card, bool) { return &c, true }

func said(words string) (*views.Card, bool) { return told(views.Said(words)) }

func untaken() (*views.Card, bool) {
	c := views.Said(views.NotTaken)
	return &c, false
}
