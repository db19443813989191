package product

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/backout/backout/bot/login"
	"github.com/backout/backout/workflows/worker/codec"
)

// openLogin opens what people log in with; nil where no login is configured. The
// provider is not asked yet: it may be away, and the rest works without it.
func (s *Server) openLogin(ctx context.Context, c Config) (*login.Login, error) {
	if !c.Login.configured() {
		return nil, nil //nolint:nilnil // No login is a choice, not an error.
	}
	clientSecret, err := secret("OpenID Connect client secret", c.Login.OIDC.ClientSecretFile)
	if err != nil {
		return nil, err
	}
	keys, err := loginKeys(c.Login.KeyFile)
	if err != nil {
		return nil, err
	}
	store, err := openPasskeys(ctx, c)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func(context.Context) error { return store.Close() })
	return login.New(login.Options{
		URL: c.URL, Keys: keys, Store: store, Session: c.Login.Session, Idle: c.Login.Idle,
		Provider: login.Provider{
			Issuer: c.Login.OIDC.Issuer, ClientID: c.Login.OIDC.ClientID, ClientSecret: clientSecret, Claim: c.Login.OIDC.Claim,
			AllowUnverifiedEmail: c.Login.OIDC.AllowUnverifiedEmail, Domains: c.Login.OIDC.Domains, HostedDomains: c.Login.OIDC.HostedDomains,
			Scopes: c.Login.OIDC.Scopes,
		},
	})
}

// loginKeys reads the key file of logins. One that does not exist is created with one
// new key; bots that start at once share it.
func loginKeys(path string) (*login.Keys, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := codec.CreateKeyFile(path, login.NewKeyFile()); err != nil {
			return nil, fmt.Errorf("create login keys: %w", err)
		}
	}
	text, err := codec.ReadKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("read login keys: %w", err)
	}
	keys, err := login.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", path, err)
	}
	return keys, nil
}

// openPasskeys opens the store that all bots share.
func openPasskeys(ctx context.Context, c Config) (*login.Store, error) {
	if c.Login.DatabaseURLFile == "" {
		return login.OpenStore(ctx, c.Login.PasskeysFile)
	}
	address, err := secret("address of the login database", c.Login.DatabaseURLFile)
	if err != nil {
		return nil, err
	}
	store, err := login.OpenSharedStore(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("open the database of login.database_url_file: %w", err)
	}
	return store, nil
}

// checkLogin looks at what the first login needs, and creates nothing.
func checkLogin(ctx context.Context, c Config) error {
	if _, err := secret("OpenID Connect client secret", c.Login.OIDC.ClientSecretFile); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	return login.Reach(ctx, c.Login.OIDC.Issuer)
}
