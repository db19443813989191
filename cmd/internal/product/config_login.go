package product

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/backout/backout/bot/login"
)

// LoginConfig says how people log in to the console. Without an issuer the console
// takes API tokens, and no plan that needs a second proof can be approved.
type LoginConfig struct {
	OIDC OIDCConfig `yaml:"oidc"`
	// KeyFile holds the keys that seal sessions; it is created on the first start.
	// All bots have the same. Default: login.key in the data folder.
	KeyFile string `yaml:"key_file"`
	// PasskeysFile holds passkeys and what was used up. All bots on one machine
	// share it. Default: login.db in the data folder.
	PasskeysFile string `yaml:"passkeys_file"`
	// DatabaseURLFile holds the address of a PostgreSQL database, where bots on
	// several machines keep that instead.
	DatabaseURLFile string `yaml:"database_url_file"`
	// Session is how long a session lasts at most, default 8h; Idle how long one
	// lasts that is not used, default 1h.
	Session time.Duration `yaml:"session"`
	Idle    time.Duration `yaml:"idle"`
}

// OIDCConfig connects an OpenID Connect provider. Its redirect URI is
// /login/callback behind the url of the configuration.
type OIDCConfig struct {
	Issuer           string `yaml:"issuer"`
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// Claim is the claim of the ID token that is among the logins of a person.
	// Default: email.
	Claim string `yaml:"claim"`
	// AllowUnverifiedEmail takes addresses that the provider did not verify.
	AllowUnverifiedEmail bool `yaml:"allow_unverified_email"`
	// Domains are the domains of the e-mail addresses that may log in; empty: all.
	Domains []string `yaml:"domains"`
	// HostedDomains are the organizations, by the claim hd, that may; empty: all.
	HostedDomains []string `yaml:"hosted_domains"`
	// Scopes are asked for beside openid. Default: email and profile.
	Scopes []string `yaml:"scopes"`
}

// configured reports whether people log in.
func (c LoginConfig) configured() bool { return c.OIDC.Issuer != "" }

// defaults fills in the files in the data folder; abs makes a path absolute.
func (c *LoginConfig) defaults(data string, abs func(*string)) {
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(data, "login.key")
	}
	if c.PasskeysFile == "" {
		c.PasskeysFile = filepath.Join(data, "login.db")
	}
	for _, p := range []*string{&c.KeyFile, &c.PasskeysFile, &c.DatabaseURLFile, &c.OIDC.ClientSecretFile} {
		abs(p)
	}
}

// maxSessionLife is the longest session that is accepted. A key that was taken out
// of use may go a day later.
const maxSessionLife = 24 * time.Hour

// validate reports what would go wrong at the first login.
func (c LoginConfig) validate(address string) error {
	if !c.configured() {
		if c.OIDC.ClientID != "" || c.OIDC.ClientSecretFile != "" {
			return errors.New("login.oidc.issuer is missing: set it, or leave out login")
		}
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.OIDC.ClientID == "" || c.OIDC.ClientSecretFile == "" {
		bad("login.oidc.client_id and login.oidc.client_secret_file are needed beside login.oidc.issuer")
	}
	if err := login.CheckIssuer(c.OIDC.Issuer); err != nil {
		bad("login.oidc: %w", err)
	}
	if err := login.CheckURL(address); err != nil {
		bad("login: %w", err)
	}
	if c.Session < 0 || c.Session > maxSessionLife {
		bad("login.session is %s, want at most %s", c.Session, maxSessionLife)
	}
	if c.Idle < 0 || c.Idle > maxSessionLife {
		bad("login.idle is %s, want at most %s", c.Idle, maxSessionLife)
	}
	return errors.Join(errs...)
}
