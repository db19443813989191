package slack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	slackgo "github.com/slack-go/slack"

	"github.com/backout/backout/workflows/incident"
)

// slackbot is the account of Slack itself in every workspace.
const slackbot = "USLACKBOT"

// errNonsense means that Slack's answer is not one to what was asked. It is not
// final: a proxy in between may be the reason.
var errNonsense = errors.New("the answer does not fit the question")

// Colleague returns nil when an actor is an active full member of the workspace,
// whoever that is: enough to ask for something, never to decide. The errors are
// those of Identify.
func (d *Directory) Colleague(ctx context.Context, a incident.Actor) error {
	if a.Via != incident.ViaSlack {
		_, err := d.Identify(ctx, a)
		return err
	}
	_, err := d.account(ctx, a)
	return err
}

// Active returns nil for a person whose Slack account could decide now, and for one
// who is known to have none here. The errors are those of Identify. It is for
// people who were named by somebody else: their login may outlive them.
func (d *Directory) Active(ctx context.Context, p incident.Person) error {
	if d.opts.API == nil || p.SlackUser == "" {
		return nil
	}
	_, err := d.account(ctx, incident.Actor{Via: incident.ViaSlack, SlackTeam: d.opts.Team, SlackUser: p.SlackUser})
	return err
}

// account reads the account of an actor, which must be able to decide.
func (d *Directory) account(ctx context.Context, a incident.Actor) (*slackgo.User, error) {
	refuse := func(why string) (*slackgo.User, error) {
		_, err := nobody(a, why)
		return nil, err
	}
	switch {
	case a.Validate() != nil:
		return refuse("it names nobody")
	case d.opts.API == nil:
		return refuse("no Slack workspace is configured")
	case a.SlackTeam != d.opts.Team:
		return refuse("the account is of another workspace")
	case a.SlackUser == slackbot:
		return refuse("the account is Slack's own")
	}
	u, err := d.opts.API.GetUserInfoContext(ctx, a.SlackUser, slackgo.GetUserInfoOptionIncludeLocale(false))
	if err != nil {
		err = wrap("users.info", err)
		for _, code := range []string{"user_not_found", "users_not_found", "user_not_visible"} {
			if hasCode(err, code) {
				return refuse("Slack does not know the account")
			}
		}
		return nil, err
	}
	if u == nil || u.ID != a.SlackUser || u.TeamID == "" {
		return nil, fmt.Errorf("users.info: %w", errNonsense)
	}
	if why := unfit(u, d.opts.Team); why != "" {
		return refuse(why)
	}
	return u, nil
}

// unfit says why an account can not decide; empty when it can.
// Source: https://docs.slack.dev/reference/objects/user-object
func unfit(u *slackgo.User, team string) string {
	switch {
	case u.Deleted:
		return "the account is deactivated"
	case u.IsStranger:
		return "the account is of somebody outside, in a shared channel"
	case u.TeamID != team:
		return "the account belongs to another workspace"
	case u.Enterprise.ID != "" && !slices.Contains(u.Enterprise.Teams, team):
		return "the account is of the enterprise, but of another workspace in it"
	case u.IsWorkflowBot || u.IsConnectorBot:
		return "the account is a workflow's"
	case u.IsBot:
		return "the account is a bot"
	case u.IsAppUser:
		return "the account is an app's"
	case u.IsUltraRestricted:
		return "the account is a guest of one channel"
	case u.IsRestricted:
		return "the account is a guest"
	case u.IsInvitedUser:
		return "the account has not joined yet"
	default:
		return ""
	}
}

func (d *Directory) slackUser(ctx context.Context, a incident.Actor) (incident.Person, error) {
	u, err := d.account(ctx, a)
	if err != nil {
		return incident.Person{}, err
	}
	for _, p := range d.opts.People {
		if p.SlackUser == u.ID {
			return p.person(), nil
		}
	}
	return d.byEmail(ctx, a, u)
}

// byEmail is the opt-in match of an account that is not mapped.
func (d *Directory) byEmail(ctx context.Context, a incident.Actor, u *slackgo.User) (incident.Person, error) {
	if len(d.opts.EmailDomains) == 0 || u.Profile.Email == "" {
		return nobody(a, "the account is mapped to nobody")
	}
	email, ok := incident.FoldAddress(u.Profile.Email)
	_, domain, _ := strings.Cut(email, "@")
	switch {
	case !ok:
		return nobody(a, "the e-mail address of the account is not in plain ASCII")
	case !slices.ContainsFunc(d.opts.EmailDomains, func(allowed string) bool { return incident.SameAccount(allowed, domain) }):
		return nobody(a, "the e-mail address of the account is in no domain that counts")
	case !u.IsEmailConfirmed:
		return nobody(a, "the e-mail address of the account is not confirmed")
	}
	if alone, err := d.alone(ctx, u, email); err != nil {
		return incident.Person{}, err
	} else if !alone {
		return nobody(a, "the e-mail address of the account is another account's too")
	}
	for _, p := range d.opts.People {
		if !incident.SameAddress(p.Email, email) && !incident.SameAddress(p.ID, email) {
			continue
		}
		if p.SlackUser != "" {
			return nobody(a, "the person of that e-mail address has another account")
		}
		person := p.person()
		person.SlackUser = u.ID
		return person, nil
	}
	return incident.Person{ID: email, Name: u.RealName, Email: email, SlackUser: u.ID}, nil
}

// alone reports whether Slack, asked for an address, has that account and no
// other. It answers with one account: each of two that share an address is refused
// but for the one that Slack names.
func (d *Directory) alone(ctx context.Context, u *slackgo.User, email string) (bool, error) {
	found, err := d.opts.API.GetUserByEmailContext(ctx, email)
	if err != nil {
		err = wrap("users.lookupByEmail", err)
		if hasCode(err, "users_not_found") {
			return false, nil
		}
		return false, err
	}
	if found == nil || found.ID == "" || !incident.SameAddress(found.Profile.Email, email) {
		return false, fmt.Errorf("users.lookupByEmail: %w", errNonsense)
	}
	return found.ID == u.ID, nil
}

// Member reports whether a person is in a Slack user group now, by its ID. A
// person without a Slack account is no member. A group that does not exist or is
// turned off is an error: it answers for nobody.
func (d *Directory) Member(ctx context.Context, group string, p incident.Person) (bool, error) {
	if d.opts.API == nil {
		return false, fmt.Errorf("list members of Slack group %q: %w", group, errNoSlack)
	}
	members, err := d.opts.API.GetUserGroupMembersContext(ctx, group)
	if err != nil {
		return false, wrap("usergroups.users.list", err)
	}
	if len(members) == 0 {
		// A group always has members, unless it is turned off.
		return false, fmt.Errorf("list members of Slack group %q: it has none, or is turned off", group)
	}
	return p.SlackUser != "" && slices.Contains(members, p.SlackUser), nil
}

// errNoSlack means that no Slack workspace is configured.
var errNoSlack = errors.New("no Slack workspace is configured")
