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
		if _, ok := incident.FoldAddress(p.Email); p.Email != "" && !ok {
			return fmt.Errorf("check people: %q has the e-mail address %q, which is none in plain ASCII", p.ID, p.Email)
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
	// confirmed e-mail address, if that is in exactly one of these domains. A
	// domain does not stand for those below it. Empty allows none.
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
	for _, domain := range opts.EmailDomains {
		if _, ok := incident.FoldAddress("x@" + domain); !ok {
			return nil, fmt.Errorf("assemble directory: %q is no domain of e-mail addresses in plain ASCII", domain)
		}
	}
	return &Directory{opts: opts}, nil
}

// Identify returns exactly one active person. The error is an
// *incident.NoIdentityError when there is none, with the reason, and any other
// error when Slack could not be asked or its answer made no sense.
func (d *Directory) Identify(ctx context.Context, a incident.Actor) (incident.Person, error) {
	if err := a.Validate(); err != nil {
		return nobody(a, "it names nobody")
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
	return incident.Person{}, &incident.NoIdentityError{Actor: a, Why: why}
}

func (m Mapping) person() incident.Person {
	return incident.Person{ID: m.ID, Name: m.Name, Email: m.Email, SlackUser: m.SlackUser, PagerDutyID: m.PagerDutyID, GitHubLogin: m.GitHubLogin}
}
