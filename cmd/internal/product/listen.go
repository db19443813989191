package product

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/user"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/backout/backout/bot"
	"github.com/backout/backout/integrations/pagerduty"
	"github.com/backout/backout/workflows/incident"
)

// listen serves what the role serves: the bot everything, a worker its health
// and metrics only.
func (s *Server) listen(ctx context.Context, o Options, rules Rules, v vendors, registry *prometheus.Registry) error {
	options := bot.Options{
		Gateway: s.Gateway, Log: o.Log,
		Metrics:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
		Services: func() []string { return names(rules) },
	}
	if o.Role != RoleWorker {
		access, err := openAccess(o.Config.API.TokensFile)
		if err != nil {
			return err
		}
		options.Access = access
		if options.Login, err = s.openLogin(ctx, o.Config); err != nil {
			return err
		}
		if len(v.webhookSecrets) > 0 {
			options.Webhooks = map[string]bot.Webhook{string(incident.SourcePagerDuty): pagerDutyWebhook(v.webhookSecrets, o.Config.PagerDuty.severities())}
		}
		if v.slack != nil {
			options.Slack = &bot.SlackOptions{
				API: v.slack, SigningSecret: v.signingSecret, Command: o.Config.Slack.Command, Services: options.Services, KeyAt: v.keyAt,
				Colleague: v.colleague, PinEmoji: o.Config.Slack.PinEmoji, ThreadOf: v.threadOf,
			}
			if options.Login != nil {
				options.Slack.Console = o.Config.URL
			}
		}
	}
	server, err := bot.NewServer(options)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, server.Close)
	if options.Slack != nil && o.Config.Slack.Mode == "socket" {
		s.runSocket(ctx, server)
	}
	return s.serve(ctx, o.Config.Listen, server)
}

// runSocket keeps the Socket Mode connection until Stop.
func (s *Server) runSocket(ctx context.Context, server *bot.Server) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.RunSocket(ctx); err != nil && ctx.Err() == nil {
			s.failed <- fmt.Errorf("run Socket Mode: %w", err)
		}
	}()
	s.closers = append(s.closers, func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

func names(r Rules) []string {
	services := r.Catalogue.Services()
	out := make([]string, len(services))
	for i, svc := range services {
		out[i] = svc.Name
	}
	return out
}

func pagerDutyWebhook(secrets [][]byte, severities pagerduty.Severities) bot.Webhook {
	return bot.Webhook{
		Verify: func(h http.Header, body []byte) error {
			return pagerduty.VerifySignature(secrets, h.Get(pagerduty.SignatureHeader), body)
		},
		Parse: func(body []byte) (incident.Page, bool, error) {
			w, err := pagerduty.ParseWebhook(body, severities)
			return w.Page, w.Kind == pagerduty.WebhookPage, err
		},
	}
}

// openAccess reads the token file. A file that does not exist is created with
// one token for the user who runs Backout.
func openAccess(path string) (*bot.Access, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		login := "operator"
		if u, err := user.Current(); err == nil && u.Username != "" {
			login = u.Username
		}
		content = []byte(login + " " + rand.Text() + "\n")
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("read API tokens: %w", err)
	}
	access, err := bot.ParseAccess(content)
	if err != nil {
		return nil, fmt.Errorf("read API tokens %q: %w", path, err)
	}
	return access, nil
}
