package product

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	slackgo "github.com/slack-go/slack"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/bot/views"
	"github.com/backout/backout/integrations/github"
	"github.com/backout/backout/integrations/pagerduty"
	"github.com/backout/backout/integrations/slack"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// slackTimeout bounds one call of Slack's Web API.
const slackTimeout = 10 * time.Second

// vendors are the services that people are reached through. Those that are not
// configured are nil, but for the channel.
type vendors struct {
	slack     *slackgo.Client
	channel   activities.Channel
	directory activities.Directory
	pager     activities.Pager
	tracker   activities.Tracker
	// owners answer for groups that own services, those whose vendor is configured.
	owners map[runbooks.OwnerKind]activities.Member
	// colleague tells full members of the Slack workspace from everybody else.
	colleague func(ctx context.Context, a incident.Actor) error
	// webhookSecrets verify PagerDuty's webhooks; signingSecret verifies
	// Slack's requests.
	webhookSecrets [][]byte
	signingSecret  string
	// keyAt finds the incident whose card is a message.
	keyAt func(ctx context.Context, channel, ts string) (string, error)
	// threadOf finds the thread of a message.
	threadOf func(ctx context.Context, channel, ts string) (string, error)
}

func openVendors(c Config, catalogue *runbooks.Catalogue, log *slog.Logger) (vendors, error) {
	v := vendors{channel: noChannel{}, owners: make(map[runbooks.OwnerKind]activities.Member)}
	if err := v.openSlack(c, catalogue, log); err != nil {
		return v, err
	}
	if c.PagerDuty.TokenFile != "" {
		pager, err := pagerduty.New(pagerduty.Options{URL: c.PagerDuty.APIURL, TokenFile: c.PagerDuty.TokenFile, From: c.PagerDuty.From, Severities: c.PagerDuty.severities(), OnCallLevels: c.PagerDuty.OnCallLevels})
		if err != nil {
			return v, err
		}
		v.pager = pager
		v.owners[runbooks.OwnerPagerDutyTeam], v.owners[runbooks.OwnerPagerDutyService] = pager.TeamMember, pager.ServiceMember
	}
	for _, path := range c.PagerDuty.WebhookSecretFiles {
		s, err := secret("PagerDuty webhook secret", path)
		if err != nil {
			return v, err
		}
		v.webhookSecrets = append(v.webhookSecrets, []byte(s))
	}
	if c.GitHub.TokenFile != "" {
		options := github.Options{URL: c.GitHub.APIURL, TokenFile: c.GitHub.TokenFile}
		tracker, err := github.NewTracker(github.TrackerOptions{Options: options, Repo: c.GitHub.PostmortemRepo, Label: c.GitHub.Label, Charts: c.GitHub.Charts})
		if err != nil {
			return v, err
		}
		v.tracker = tracker
		teams, err := github.NewTeams(options)
		if err != nil {
			return v, err
		}
		v.owners[runbooks.OwnerGitHubTeam] = teams.Member
	}
	return v, v.answerFor(catalogue)
}

// answerFor is an error when a group owns a service and nobody can be asked who is
// in it.
func (v *vendors) answerFor(catalogue *runbooks.Catalogue) error {
	if catalogue == nil {
		return nil
	}
	section := map[runbooks.OwnerKind]string{
		runbooks.OwnerSlackGroup: "slack.bot_token_file", runbooks.OwnerGitHubTeam: "github.token_file",
		runbooks.OwnerPagerDutyTeam: "pagerduty.token_file", runbooks.OwnerPagerDutyService: "pagerduty.token_file",
	}
	var errs []error
	for _, s := range catalogue.Services() {
		for _, g := range s.OwnerGroups {
			if v.owners[g.Kind] == nil {
				errs = append(errs, fmt.Errorf("read owners of %q: %s %q can not be asked for; set %s, or take the annotation away", s.Name, g.Kind, g.ID, section[g.Kind]))
			}
		}
	}
	return errors.Join(errs...)
}

func (v *vendors) openSlack(c Config, catalogue *runbooks.Catalogue, log *slog.Logger) error {
	var people []slack.Mapping
	for _, p := range c.People {
		people = append(people, slack.Mapping{
			ID: p.ID, Name: p.Name, Email: p.Email, SlackUser: p.SlackUser, PagerDutyID: p.PagerDutyID, GitHubLogin: p.GitHubLogin, Logins: p.Logins,
		})
	}
	if c.Slack.BotTokenFile != "" {
		token, err := secret("Slack bot token", c.Slack.BotTokenFile)
		if err != nil {
			return err
		}
		options := []slackgo.Option{slackgo.OptionHTTPClient(&http.Client{Timeout: slackTimeout})}
		if c.Slack.APIURL != "" {
			options = append(options, slackgo.OptionAPIURL(c.Slack.APIURL))
		}
		if c.Slack.AppTokenFile != "" {
			app, err := secret("Slack app token", c.Slack.AppTokenFile)
			if err != nil {
				return err
			}
			options = append(options, slackgo.OptionAppLevelToken(app))
		}
		if c.Slack.SigningSecretFile != "" {
			if v.signingSecret, err = secret("Slack signing secret", c.Slack.SigningSecretFile); err != nil {
				return err
			}
		}
		v.slack = slackgo.New(token, options...)
		channel, err := slack.NewChannel(slack.Options{
			API: v.slack,
			Render: func(view incident.View) ([]slackgo.Block, string) {
				if c.Login.configured() {
					view.ConsoleURL = bot.ConsoleURL(c.URL, view.Key)
				}
				card := views.NewCard(view)
				return card.Blocks, card.Text
			},
			PinEmoji: c.Slack.PinEmoji,
			Files:    c.Slack.APIURL,
			ChannelFor: func(view incident.View) string {
				if view.Card.Channel != "" {
					return view.Card.Channel
				}
				if svc, ok := catalogue.Service(view.Service); ok && svc.SlackChannel != "" {
					return svc.SlackChannel
				}
				return c.Slack.Channel
			},
		})
		if err != nil {
			return err
		}
		v.channel, v.keyAt, v.threadOf = channel, channel.KeyAt, channel.ThreadOf
	} else {
		log.Warn("No Slack is configured. Incidents are shown by the console and the CLI only.")
	}
	directory, err := slack.NewDirectory(slack.DirectoryOptions{API: v.slack, Team: c.Slack.Team, People: people, EmailDomains: c.Slack.EmailDomains})
	if err != nil {
		return fmt.Errorf("read people: %w", err)
	}
	v.directory = directory
	if v.slack != nil {
		v.colleague, v.owners[runbooks.OwnerSlackGroup] = directory.Colleague, directory.Member
	}
	return nil
}
