package product

import (
	"context"
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
	// webhookSecrets verify PagerDuty's webhooks; signingSecret verifies
	// Slack's requests.
	webhookSecrets [][]byte
	signingSecret  string
	// keyAt finds the incident whose card is a message.
	keyAt func(ctx context.Context, channel, ts string) (string, error)
}

func openVendors(c Config, catalogue *runbooks.Catalogue, log *slog.Logger) (vendors, error) {
	v := vendors{channel: noChannel{}}
	if err := v.openSlack(c, catalogue, log); err != nil {
		return v, err
	}
	if c.PagerDuty.TokenFile != "" {
		pager, err := pagerduty.New(pagerduty.Options{URL: c.PagerDuty.APIURL, TokenFile: c.PagerDuty.TokenFile, From: c.PagerDuty.From, Severities: c.PagerDuty.severities()})
		if err != nil {
			return v, err
		}
		v.pager = pager
	}
	for _, path := range c.PagerDuty.WebhookSecretFiles {
		s, err := secret("PagerDuty webhook secret", path)
		if err != nil {
			return v, err
		}
		v.webhookSecrets = append(v.webhookSecrets, []byte(s))
	}
	if c.GitHub.TokenFile != "" {
		tracker, err := github.NewTracker(github.TrackerOptions{
			Options: github.Options{URL: c.GitHub.APIURL, TokenFile: c.GitHub.TokenFile}, Repo: c.GitHub.PostmortemRepo, Label: c.GitHub.Label,
		})
		if err != nil {
			return v, err
		}
		v.tracker = tracker
	}
	return v, nil
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
		v.channel, v.keyAt = channel, channel.KeyAt
	} else {
		log.Warn("No Slack is configured. Incidents are shown by the console and the CLI only.")
	}
	directory, err := slack.NewDirectory(slack.DirectoryOptions{API: v.slack, Team: c.Slack.Team, People: people, EmailDomains: c.Slack.EmailDomains})
	if err != nil {
		return fmt.Errorf("read people: %w", err)
	}
	v.directory = directory
	return nil
}
