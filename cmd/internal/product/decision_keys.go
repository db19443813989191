package product

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/backout/backout/approvals/attest"
	"github.com/backout/backout/workflows/worker/codec"
)

// DecisionsConfig names the keys with which the bot signs what people decide. A bot
// makes both files on its first start; a worker needs the second one only.
type DecisionsConfig struct {
	// KeyFile holds private keys in PEM, of which the first signs. Default:
	// decision.key in the data folder.
	KeyFile string `yaml:"key_file"`
	// TrustedFile holds the public keys that the worker trusts. Default:
	// decision.pub in the data folder.
	TrustedFile string `yaml:"trusted_file"`
}

// decisionKeys are what a process signs with and what it trusts. A worker has no
// signer, a bot alone no need of what it trusts.
func decisionKeys(c DecisionsConfig, r Role) (*attest.Signer, *attest.Verifier, error) {
	if r == RoleWorker {
		trusted, err := trustedKeys(c)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%w; copy decisions.trusted_file of the bot there: without it nobody's decision counts", err)
		}
		if err != nil {
			return nil, nil, err
		}
		v, err := attest.NewVerifier(trusted...)
		return nil, v, err
	}
	private, err := createDecisionKeys(c)
	if err != nil {
		return nil, nil, err
	}
	signer, err := attest.NewSigner(private[0])
	if err != nil {
		return nil, nil, err
	}
	trusted, err := trustedKeys(c)
	if err != nil {
		return nil, nil, err
	}
	v, err := attest.NewVerifier(append(trusted, publicKeys(private)...)...)
	return signer, v, err
}

// createDecisionKeys reads the private keys, and makes what is not there.
func createDecisionKeys(c DecisionsConfig) ([]ed25519.PrivateKey, error) {
	if _, err := os.Stat(c.KeyFile); errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("create decision key: %w", err)
		}
		text, err := attest.FormatPrivate(key)
		if err != nil {
			return nil, err
		}
		if err := codec.CreateKeyFile(c.KeyFile, text); err != nil {
			return nil, fmt.Errorf("create decision key: %w", err)
		}
	}
	private, err := privateKeys(c)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.TrustedFile); errors.Is(err, fs.ErrNotExist) {
		text, err := attest.FormatPublic(publicKeys(private)...)
		if err != nil {
			return nil, err
		}
		if err := codec.CreateKeyFile(c.TrustedFile, text); err != nil {
			return nil, fmt.Errorf("create file of trusted decision keys: %w", err)
		}
	}
	return private, nil
}

func privateKeys(c DecisionsConfig) ([]ed25519.PrivateKey, error) {
	text, err := codec.ReadKeyFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read decision key: %w", err)
	}
	keys, err := attest.ParsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("read decision key %q: %w", c.KeyFile, err)
	}
	return keys, nil
}

// trustedKeys reads the public keys. They are no secret; whoever can write the file
// can speak for everybody.
func trustedKeys(c DecisionsConfig) ([]ed25519.PublicKey, error) {
	info, err := os.Stat(c.TrustedFile)
	if err != nil {
		return nil, fmt.Errorf("read trusted decision keys: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("read trusted decision keys %q: its mode %04o lets others write, want 0644 at most", c.TrustedFile, info.Mode().Perm())
	}
	text, err := os.ReadFile(c.TrustedFile)
	if err != nil {
		return nil, fmt.Errorf("read trusted decision keys: %w", err)
	}
	keys, err := attest.ParsePublic(text)
	if err != nil {
		return nil, fmt.Errorf("read trusted decision keys %q: %w", c.TrustedFile, err)
	}
	return keys, nil
}

func publicKeys(private []ed25519.PrivateKey) []ed25519.PublicKey {
	var out []ed25519.PublicKey
	for _, k := range private {
		out = append(out, k.Public().(ed25519.PublicKey))
	}
	return out
}

// keysCommand changes the key that decisions are signed with.
func (p *program) keysCommand() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Change the key that decisions are signed with", Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(&cobra.Command{
		Use: "rotate", Short: "Make a new key; the one before is trusted until the next rotation", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			config, err := p.load()
			if err != nil {
				return err
			}
			id, err := rotate(config.Decisions)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "new key %s in %s\nCopy %s to every worker and restart the workers, then restart the bots.\n", id, config.Decisions.KeyFile, config.Decisions.TrustedFile)
			return err
		},
	})
	return c
}

// rotate puts a new key before the one that signs now, and trusts those two.
func rotate(c DecisionsConfig) (id string, err error) {
	old, err := createDecisionKeys(c)
	if err != nil {
		return "", err
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", fmt.Errorf("create decision key: %w", err)
	}
	if id, err = attest.KeyID(public); err != nil {
		return "", err
	}
	both := []ed25519.PrivateKey{key, old[0]}
	open, err := attest.FormatPublic(publicKeys(both)...)
	if err != nil {
		return "", err
	}
	closed, err := attest.FormatPrivate(both...)
	if err != nil {
		return "", err
	}
	// What is trusted comes first: a bot never signs with what no worker knows.
	if err := codec.ReplaceKeyFile(c.TrustedFile, open); err != nil {
		return "", fmt.Errorf("write trusted decision keys: %w", err)
	}
	if err := codec.ReplaceKeyFile(c.KeyFile, closed); err != nil {
		return "", fmt.Errorf("write decision key: %w", err)
	}
	return id, nil
}
