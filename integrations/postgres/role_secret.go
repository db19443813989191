package postgres

import (
	"cmp"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

const (
	// scramIterations is what PostgreSQL itself uses for a verifier.
	// Source: https://www.postgresql.org/docs/current/runtime-config-connection.html
	scramIterations = 4096
	// maxIterations bounds the work for a verifier that somebody else made.
	maxIterations = 1_000_000
	// saltLength is what PostgreSQL itself uses, in bytes.
	saltLength = 16
	// maxVersions is how many versions of a secret are looked at.
	maxVersions = 64
)

// RoleSecrets is a role and the folder with the versions of its secret: each is a
// file that holds one line, and whose name is the version, as secret stores mount
// them.
type RoleSecrets struct {
	// Name is the role, and the path of the target.
	Name string `yaml:"name" json:"name"`
	// Folder holds one file for each version.
	Folder string `yaml:"folder" json:"folder"`
}

func checkRoles(roles []RoleSecrets) error {
	seen := map[string]bool{}
	for _, r := range roles {
		if !setName.MatchString(r.Name) || seen[r.Name] {
			return fmt.Errorf("read settings: name %q of a role is malformed or used twice", printable(r.Name, maxShown))
		}
		seen[r.Name] = true
		if r.Folder == "" {
			return fmt.Errorf("read settings: role %q: folder is empty", r.Name)
		}
	}
	return nil
}

// errNotASCII means that a secret has characters whose form would have to be
// prepared before it is hashed.
var errNotASCII = errors.New("it has characters other than printable ASCII")

// secretVersion is one version of the secret of a role.
type secretVersion struct {
	version, password string
}

// versions reads all versions of a secret, ordered by their names. Files whose names
// begin with a dot are those that secret stores keep for themselves.
func (r RoleSecrets) versions() ([]secretVersion, error) {
	entries, err := os.ReadDir(r.Folder)
	if err != nil {
		return nil, fmt.Errorf("read secrets of role %q: %w", r.Name, err)
	}
	var found []secretVersion
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !setName.MatchString(e.Name()) {
			continue
		}
		password, err := secret(filepath.Join(r.Folder, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read secrets of role %q: %w", r.Name, err)
		}
		if strings.Trim(password, printableASCII) != "" {
			return nil, fmt.Errorf("read secrets of role %q: version %q: %w", r.Name, e.Name(), errNotASCII)
		}
		found = append(found, secretVersion{version: e.Name(), password: password})
	}
	if len(found) > maxVersions {
		return nil, fmt.Errorf("read secrets of role %q: %d versions, more than %d", r.Name, len(found), maxVersions)
	}
	slices.SortFunc(found, func(a, b secretVersion) int { return cmp.Compare(a.version, b.version) })
	return found, nil
}

// printableASCII are the characters whose form SASLprep leaves as it is.
var printableASCII = func() string {
	var b strings.Builder
	for c := byte(0x20); c < 0x7f; c++ {
		b.WriteByte(c)
	}
	return b.String()
}()

// verifier is the password as PostgreSQL keeps it, with a salt.
// Source: RFC 5803 and https://www.postgresql.org/docs/current/catalog-pg-authid.html
func verifier(password string, salt []byte, iterations int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive verifier: %w", err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// verifierDigest is the digest of a verifier as the server tells it.
func verifierDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// matches reports whether a password is the one behind a verifier, of which the salt
// and the digest are known.
func (v secretVersion) matches(salt, digest string) (bool, error) {
	count, encoded, _ := strings.Cut(salt, ":")
	iterations, err := strconv.Atoi(count)
	if err != nil || iterations < 1 || iterations > maxIterations {
		return false, nil // Not a verifier of ours, nor one that a password was made for.
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return false, nil //nolint:nilerr // As above.
	}
	text, err := verifier(v.password, raw, iterations)
	if err != nil {
		return false, err
	}
	return verifierDigest(text) == digest, nil
}

// own is the verifier that is set for a version of a role: its salt follows from the
// password, so that the same version is the same verifier whenever it is set.
func (v secretVersion) own(role string) (string, error) {
	salt := keyed([]byte(v.password), "backout role "+role+" version "+v.version)[:saltLength]
	return verifier(v.password, salt, scramIterations)
}

// digest stands for a version of a role in plans: it is of a verifier, from which
// the password can be had no more than from PostgreSQL's own catalogue.
func (v secretVersion) digest(role string) (string, error) {
	text, err := v.own(role)
	if err != nil {
		return "", err
	}
	return incident.DigestOf([]byte("version\x00" + text)), nil
}
