package product

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/backout/backout/integrations/pagerduty"
	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// Config is the one configuration file. Unknown keys are errors. Relative
// paths are relative to the file. Every string and duration can be overridden
// by the environment: BACKOUT_ and the upper-case path, such as
// BACKOUT_SLACK_BOT_TOKEN_FILE.
type Config struct {
	// Data is the folder of everything that has no place of its own.
	Data string `yaml:"data"`
	// Listen is the address of webhooks, console, API and metrics.
	Listen string `yaml:"listen"`
	// URL is how people's browsers reach Listen.
	URL       string          `yaml:"url"`
	Log       LogConfig       `yaml:"log"`
	Temporal  TemporalConfig  `yaml:"temporal"`
	Slack     SlackConfig     `yaml:"slack"`
	PagerDuty PagerDutyConfig `yaml:"pagerduty"`
	GitHub    GitHubConfig    `yaml:"github"`
	// Postmortem says when postmortems are due.
	Postmortem PostmortemConfig `yaml:"postmortem"`
	Evidence   EvidenceConfig   `yaml:"evidence"`
	Ledger     LedgerConfig     `yaml:"ledger"`
	API        APIConfig        `yaml:"api"`
	Login      LoginConfig      `yaml:"login"`
	Decisions  DecisionsConfig  `yaml:"decisions"`
	People     []PersonConfig   `yaml:"people"`
	Catalogue  []string         `yaml:"catalogue"`
	Runbooks   []string         `yaml:"runbooks"`
	Policy     string           `yaml:"policy"`
	Systems    []SystemConfig   `yaml:"systems"`
}

// LogConfig says how logs are written.
type LogConfig struct {
	// Format is json or text, Level debug, info, warn or error.
	Format string `yaml:"format"`
	Level  string `yaml:"level"`
}

// TemporalConfig says which Temporal to use: none means the embedded one.
type TemporalConfig struct {
	Address    string    `yaml:"address"`
	Namespace  string    `yaml:"namespace"`
	TLS        TLSConfig `yaml:"tls"`
	APIKeyFile string    `yaml:"api_key_file"`
	// CodecKeyFile holds the keys that payloads are encrypted with; it is
	// created on the first start. Default: codec.key in the data folder.
	CodecKeyFile string `yaml:"codec_key_file"`
	// Port and UIPort are loopback ports of the embedded server; 0 is any.
	Port   int `yaml:"port"`
	UIPort int `yaml:"ui_port"`
	// Retention is how long closed incidents are kept by the embedded server.
	Retention time.Duration `yaml:"retention"`
}

// TLSConfig names the files of a mutual TLS connection.
type TLSConfig struct {
	Enabled    bool   `yaml:"enabled"`
	CertFile   string `yaml:"cert_file"`
	KeyFile    string `yaml:"key_file"`
	CAFile     string `yaml:"ca_file"`
	ServerName string `yaml:"server_name"`
}

// SlackConfig connects a Slack workspace. Without a bot token there is no
// Slack, and the CLI and the console are the ways in.
type SlackConfig struct {
	Team string `yaml:"team"`
	// Mode is http or socket.
	Mode              string `yaml:"mode"`
	BotTokenFile      string `yaml:"bot_token_file"`
	SigningSecretFile string `yaml:"signing_secret_file"`
	AppTokenFile      string `yaml:"app_token_file"`
	// Command is the slash command with its slash.
	Command string `yaml:"command"`
	// Channel is where incidents go whose service names no channel of its own.
	Channel string `yaml:"channel"`
	// EmailDomains lets a Slack user who is not among People be the person of
	// their e-mail address, if it is in one of these domains. Empty: nobody.
	EmailDomains []string `yaml:"email_domains"`
	// PinEmoji is the name of the emoji that puts a message of an incident's channel
	// into its timeline. Default: pushpin.
	PinEmoji string `yaml:"pin_emoji"`
	APIURL   string `yaml:"api_url"`
}

// PagerDutyConfig connects a PagerDuty account.
type PagerDutyConfig struct {
	TokenFile          string   `yaml:"token_file"`
	WebhookSecretFiles []string `yaml:"webhook_secret_files"`
	// From is the e-mail address that writes are made as.
	From           string        `yaml:"from"`
	ReconcileEvery time.Duration `yaml:"reconcile_every"`
	APIURL         string        `yaml:"api_url"`
	// OnCallLevels is how many levels of an escalation policy, from the first, are
	// on call and may decide. Default: 1, those who are paged first.
	OnCallLevels int `yaml:"on_call_levels"`
	// SecurityService is the ID of the PagerDuty service that pages security when
	// somebody approves alone, past the policy. Empty: nobody from security is paged,
	// and the card says so.
	SecurityService string `yaml:"security_service"`
	// Priorities maps names of priorities to sev1 to sev4, beside P1 to P5 and
	// SEV1 to SEV5, which are known.
	Priorities map[string]incident.Severity `yaml:"priorities"`
	// HighUrgency is the severity of a high urgency without a known priority.
	// Default: sev3, because a higher one makes riskier rollbacks possible.
	HighUrgency incident.Severity `yaml:"high_urgency"`
}

// pagerDutyID is how PagerDuty spells its identifiers.
var pagerDutyID = regexp.MustCompile(`^[A-Z0-9]{2,32}$`)

func (c PagerDutyConfig) severities() pagerduty.Severities {
	return pagerduty.Severities{Priorities: c.Priorities, HighUrgency: c.HighUrgency}
}

// GitHubConfig says where postmortems are written.
type GitHubConfig struct {
	TokenFile string `yaml:"token_file"`
	// PostmortemRepo is "owner/name".
	PostmortemRepo string `yaml:"postmortem_repo"`
	Label          string `yaml:"label"`
	// Charts puts the charts of rollbacks and the images of messages that people pinned
	// into that repository, on a branch of their own, and shows them in the postmortem.
	// The token needs contents: write for it, and the Slack app files:read.
	Charts bool   `yaml:"charts"`
	APIURL string `yaml:"api_url"`
}

// EvidenceConfig says where evidence is stored.
type EvidenceConfig struct {
	// URL is a gocloud.dev blob URL. Default: evidence in the data folder.
	URL string `yaml:"url"`
}

// APIConfig says who may use the HTTP API, by bearer token.
type APIConfig struct {
	// TokensFile holds lines of "login token". Default: api-tokens in the data
	// folder, created on the first start with one token for the local user.
	TokensFile string `yaml:"tokens_file"`
}

// PersonConfig is one human being and every name they have.
type PersonConfig struct {
	ID          string `yaml:"id,required"`
	Name        string `yaml:"name,required"`
	Email       string `yaml:"email"`
	SlackUser   string `yaml:"slack_user"`
	PagerDutyID string `yaml:"pagerduty_id"`
	GitHubLogin string `yaml:"github_login"`
	// Logins are the names at the CLI and the console.
	Logins []string `yaml:"logins"`
}

// SystemConfig is one production system.
type SystemConfig struct {
	Name     string     `yaml:"name,required"`
	Type     string     `yaml:"type,required"`
	Settings strict.Raw `yaml:"settings,required"`
}

// LoadConfig reads a configuration file and the environment. An empty path
// means all defaults. Errors name file, line and what to do.
func LoadConfig(path string, env []string) (Config, error) {
	var c Config
	folder := "."
	if path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return c, fmt.Errorf("read configuration: %w", err)
		}
		if _, err := strict.Decode(strict.File{Name: path, Content: content}, &c); err != nil {
			return c, fmt.Errorf("read configuration: %w", err)
		}
		folder = filepath.Dir(path)
	}
	if err := override(&c, env); err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	c.defaults(folder)
	if err := c.validate(); err != nil {
		return c, fmt.Errorf("check configuration %q: %w", path, err)
	}
	return c, nil
}

// defaults fills in what was left out, and makes paths absolute.
func (c *Config) defaults(folder string) {
	set := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	set(&c.Data, "data")
	set(&c.Listen, "127.0.0.1:8420")
	set(&c.URL, "http://"+c.Listen)
	set(&c.Log.Format, "json")
	set(&c.Log.Level, "info")
	set(&c.Temporal.Namespace, "default")
	set(&c.Slack.Mode, "http")
	set(&c.Slack.Command, "/rollback")
	set(&c.Slack.PinEmoji, "pushpin")
	c.Postmortem.defaults()
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.PagerDuty.ReconcileEvery == 0 {
		c.PagerDuty.ReconcileEvery = time.Minute
	}
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	abs(&c.Data)
	if !filepath.IsAbs(c.Data) {
		if d, err := filepath.Abs(c.Data); err == nil {
			c.Data = d
		}
	}
	set(&c.Temporal.CodecKeyFile, filepath.Join(c.Data, "codec.key"))
	set(&c.Decisions.KeyFile, filepath.Join(c.Data, "decision.key"))
	set(&c.Decisions.TrustedFile, filepath.Join(c.Data, "decision.pub"))
	set(&c.API.TokensFile, filepath.Join(c.Data, "api-tokens"))
	c.Login.defaults(c.Data, abs)
	for _, p := range []*string{
		&c.Temporal.APIKeyFile, &c.Temporal.CodecKeyFile, &c.Decisions.KeyFile, &c.Decisions.TrustedFile, &c.Temporal.TLS.CertFile, &c.Temporal.TLS.KeyFile, &c.Temporal.TLS.CAFile,
		&c.Slack.BotTokenFile, &c.Slack.SigningSecretFile, &c.Slack.AppTokenFile, &c.PagerDuty.TokenFile, &c.GitHub.TokenFile,
		&c.API.TokensFile, &c.Policy,
	} {
		abs(p)
	}
	c.Ledger.defaults(c.Data, abs)
	for _, list := range [][]string{c.PagerDuty.WebhookSecretFiles, c.Catalogue, c.Runbooks} {
		for i := range list {
			abs(&list[i])
		}
	}
}

// validate reports everything that would go wrong later.
func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch c.Log.Format {
	case "json", "text":
	default:
		bad("log.format is %q, want json or text", c.Log.Format)
	}
	switch c.Slack.Mode {
	case "http":
		if c.Slack.BotTokenFile != "" && c.Slack.SigningSecretFile == "" {
			bad("slack.signing_secret_file is missing: requests from Slack could not be verified")
		}
	case "socket":
		if c.Slack.AppTokenFile == "" {
			bad("slack.app_token_file is missing: Socket Mode needs an app-level token")
		}
	default:
		bad("slack.mode is %q, want http or socket", c.Slack.Mode)
	}
	if c.Slack.BotTokenFile != "" && (c.Slack.Team == "" || c.Slack.Channel == "") {
		bad("slack.team and slack.channel are needed beside slack.bot_token_file")
	}
	if !strings.HasPrefix(c.Slack.Command, "/") {
		bad("slack.command is %q, want a slash first", c.Slack.Command)
	}
	if !emojiName.MatchString(c.Slack.PinEmoji) {
		bad("slack.pin_emoji is %q, want the name of an emoji without colons, such as pushpin", c.Slack.PinEmoji)
	}
	c.Postmortem.validate(bad)
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen is %q, want host:port", c.Listen)
	}
	if c.PagerDuty.TokenFile != "" && c.PagerDuty.From == "" {
		bad("pagerduty.from is missing: PagerDuty wants an e-mail address for writes")
	}
	if n := c.PagerDuty.OnCallLevels; n < 0 || n > pagerduty.MaxLevels {
		bad("pagerduty.on_call_levels is %d, want 1 to %d, or none for 1", n, pagerduty.MaxLevels)
	}
	if id := c.PagerDuty.SecurityService; id != "" {
		switch {
		case !pagerDutyID.MatchString(id):
			bad("pagerduty.security_service is %q, want the ID of a PagerDuty service, such as PF9KMXH", id)
		case c.PagerDuty.TokenFile == "":
			bad("pagerduty.security_service needs pagerduty.token_file beside it: nobody could be paged")
		}
	}
	if err := c.PagerDuty.severities().Validate(); err != nil {
		bad("pagerduty: %w", err)
	}
	if c.GitHub.TokenFile != "" && strings.Count(c.GitHub.PostmortemRepo, "/") != 1 {
		bad("github.postmortem_repo is %q, want owner/name", c.GitHub.PostmortemRepo)
	}
	if err := c.Login.validate(c.URL); err != nil {
		errs = append(errs, err)
	}
	c.Ledger.validate(bad)
	seen := map[string]bool{}
	for _, p := range c.People {
		if seen[p.ID] {
			bad("people: %q is there twice", p.ID)
		}
		seen[p.ID] = true
	}
	return errors.Join(errs...)
}

// secret reads a secret from its file. The error names the file and never
// what is in it.
func secret(name, path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("read %s: file %q is empty", name, path)
	}
	return s, nil
}
