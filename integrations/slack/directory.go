package slack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	slackgo "github.com/slack-go/slack"

	"github.com/backout/backout/workflows/incident"
)

// Mapping is one person with their accounts.
type Mapping struct {
	// ID is the identity that decisions are counted by, for example an e-mail
	// address.
	ID          string `yaml:"id"`
	Name        string `yaml:"name"`
	Email       string `yaml:"email,omitempty"`
	SlackUser   string `yaml:"slack_user,omitempty"`
	PagerDutyID string `yaml:"pagerduty_id,omitempty"`
	GitHubLogin string `yaml:"github_login,omitempty"`
	// Logins are the names of the person on the command line and the console.
	Logins []string `yaml:"logins,omitempty"`
}

// ParsePeople reads a mapping file: a list "people". Unknown members, and an
// account that belongs to two people, are errors.
func ParsePeople(b []byte) ([]Mapping, error) {
	var file struct {
		People []Mapping `yaml:"people"`
	}
	if err := yaml.UnmarshalWithOptions(b, &file, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("parse people: %w", err)
	}
	return file.People, checkPeople(file.People)
}

// checkPeople refuses a mapping in which an account leads to two people.
func checkPeople(people []Mapping) error {
	seen := map[string]string{}
	claim := func(kind, account, id string) error {
		if account == "" {
			return nil
		}
		name := kind + " " + strings.ToLower(account)
		if other, taken := seen[name]; taken && other != id {
			return fmt.Errorf("check people: %s belongs to %q and to %q", name, other, id)
		}
		seen[name] = id
		return nil
	}
	for i, p := range people {
		if p.ID == "" {
			return errors.New("check people: a person has no id")
		}
		if slices.ContainsFunc(people[:i], func(other Mapping) bool { return strings.EqualFold(other.ID, p.ID) }) {
			return fmt.Errorf("check people: %q is there twice", p.ID)
		}
		accounts := [][2]string{
			{"address", p.ID}, // an identity may be an e-mail address
			{"address", p.Email},
			{"Slack user", p.SlackUser},
			{"PagerDuty user", p.PagerDutyID},
			{"GitHub login", p.GitHubLogin},
		}
		for _, login := range p.Logins {
			accounts = append(accounts, [2]string{"login", login})
		}
		for _, a := range accounts {
			if err := claim(a[0], a[1], p.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// DirectoryOptions assemble a Directory.
type DirectoryOptions struct {
	// API looks up Slack accounts; nil when there is no Slack, and then every
	// Slack actor is refused.
	API *slackgo.Client
	// Team is the ID of the one workspace whose people may decide.
	Team string
	// People are the known people with their accounts.
	People []Mapping
	// EmailDomains allows an unmapped Slack account to be the person of its
	// e-mail address, if that is in one of these domains. Empty allows none.
	EmailDomains []string
}

// Directory maps authenticated accounts to people. It asks Slack every time:
// an account that was deactivated a second ago is nobody.
type Directory struct{ opts DirectoryOptions }

// NewDirectory refuses a mapping in which an account leads to two people.
func NewDirectory(opts DirectoryOptions) (*Directory, error) {
	if opts.API != nil && opts.Team == "" {
		return nil, errors.New("assemble directory: the Slack workspace is not named")
	}
	if err := checkPeople(opts.People); err != nil {
		return nil, err
	}
	return &Directory{opts: opts}, nil
}

// Identify returns exactly one active person. The error wraps
// incident.ErrNoIdentity when there is none, and is any other error when Slack
// could not be asked.
func (d *Directory) Identify(ctx context.Context, a incident.Actor) (incident.Person, error) {
	if err := a.Validate(); err != nil {
		return incident.Person{}, fmt.Errorf("identify actor: %w: %w", err, incident.ErrNoIdentity)
	}
	switch a.Via {
	case incident.ViaSlack:
		return d.slackUser(ctx, a)
	case incident.ViaCLI, incident.ViaConsole:
		for _, p := range d.opts.People {
			if slices.Contains(p.Logins, a.Login) {
				return p.person(), nil
			}
		}
		return nobody(a, "the login is mapped to nobody")
	default:
		return nobody(a, "unknown way in")
	}
}

func nobody(a incident.Actor, why string) (incident.Person, error) {
	return incident.Person{}, fmt.Errorf("identify %q: %s: %w", a, why, incident.ErrNoIdentity)
}

func (d *Directory) slackUser(ctx context.Context, a incident.Actor) (incident.Person, error) {
	if d.opts.API == nil {
		return nobody(a, "no Slack workspace is configured")
	}
	if a.SlackTeam != d.opts.Team {
		return nobody(a, "the account is of another workspace")
	}
	u, err := d.opts.API.GetUserInfoContext(ctx, a.SlackUser, slackgo.GetUserInfoOptionIncludeLocale(false))
	if err != nil {
		err = wrap("users.info", err)
		for _, code := range []string{"user_not_found", "users_not_found", "user_not_visible"} {
			if hasCode(err, code) {
				return nobody(a, "Slack does not know the account")
			}
		}
		return incident.Person{}, err
	}
	if why := unfit(u, a, d.opts.Team); why != "" {
		return nobody(a, why)
	}
	for _, p := range d.opts.People {
		if p.SlackUser == u.ID {
			return p.person(), nil
		}
	}
	return d.byEmail(a, u)
}

// unfit says why an account can not decide; empty when it can.
func unfit(u *slackgo.User, a incident.Actor, team string) string {
	switch {
	case u.ID != a.SlackUser:
		return "Slack answered for another account"
	case u.TeamID != team:
		return "the account is of another workspace"
	case u.Deleted:
		return "the account is deactivated"
	case u.IsBot || u.IsAppUser || u.IsWorkflowBot || u.IsConnectorBot || u.ID == "USLACKBOT":
		return "the account is a bot"
	case u.IsUltraRestricted || u.IsRestricted:
		return "the account is a guest"
	case u.IsStranger:
		return "the account is a stranger"
	case u.IsInvitedUser:
		return "the account has not joined yet"
	default:
		return ""
	}
}

// byEmail is the opt-in match of an account that is not mapped.
func (d *Directory) byEmail(a incident.Actor, u *slackgo.User) (incident.Person, error) {
	email := strings.ToLower(strings.TrimSpace(u.Profile.Email))
	name, domain, ok := strings.Cut(email, "@")
	if !ok || name == "" || !slices.ContainsFunc(d.opts.EmailDomains, func(allowed string) bool { return strings.EqualFold(allowed, domain) }) {
		return nobody(a, "the account is mapped to nobody")
	}
	for _, p := range d.opts.People {
		if !strings.EqualFold(p.Email, email) && !strings.EqualFold(p.ID, email) {
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

func (m Mapping) person() incident.Person {
	return incident.Person{ID: m.ID, Name: m.Name, Email: m.Email, SlackUser: m.SlackUser, PagerDutyID: m.PagerDutyID, GitHubLogin: m.GitHubLogin}
}
