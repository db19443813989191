package varnish

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// reloadLayout is how varnishreload names what it loads, with a number behind it, in
// UTC.
// Source: https://github.com/varnishcache/pkg-varnish-cache/blob/master/systemd/varnishreload
const reloadLayout = "reload_20060102_150405"

// Settings are the configuration of one Varnish.
type Settings struct {
	// Address is the management port (-T), as host:port.
	Address string `yaml:"address" json:"address"`
	// SecretFile is the file with the secret (-S). It is read at every connection,
	// so that it can be rotated.
	SecretFile string `yaml:"secret_file" json:"secret_file"`
	// Names say how the VCLs of a target are named. The active VCL is taken to be
	// loaded by varnishreload; a label needs an entry.
	Names []Naming `yaml:"names" json:"names"`
	// Bans are named, so that a target can ask for one.
	Bans []Ban `yaml:"bans" json:"bans"`
}

// Naming says how the VCLs of one target are named.
type Naming struct {
	// Target is "active" or "label/<label>".
	Target string `yaml:"target" json:"target"`
	// Layout is what names begin with, spelled as in Go's package time, such as
	// "shop_20060102_150405". In UTC.
	Layout string `yaml:"layout" json:"layout"`
}

// Ban is an expression of objects in the cache.
type Ban struct {
	Name string `yaml:"name" json:"name"`
	// Expression is as for the command "ban", such as
	// "obj.http.x-host == shop.example.org".
	Expression string `yaml:"expression" json:"expression"`
}

// maxExpression is the longest expression of a ban, in bytes.
const maxExpression = 1024

// maxSecret is the longest secret, in bytes.
const maxSecret = 64 << 10

// banPattern is the form of an expression. Varnish compiles what it matches.
// Source: https://varnish-cache.org/docs/7.1/reference/vcl.html#vcl-7-ban
var banPattern = regexp.MustCompile(`^` + banTerm + `( && ` + banTerm + `)*$`)

const banTerm = `(req\.url|req\.http\.[A-Za-z0-9_-]+|obj\.http\.[A-Za-z0-9_-]+|obj\.status|obj\.age|obj\.ttl|obj\.grace|obj\.keep) (==|!=|~|!~|<|<=|>|>=) [^\s"\\&]+`

func (s Settings) check() error {
	if host, port, err := net.SplitHostPort(s.Address); err != nil || host == "" || port == "" {
		return errors.New("read settings: address is malformed, want <host>:<port>")
	}
	if s.SecretFile != "" {
		if _, err := s.secret(); err != nil {
			return err
		}
	}
	for n, naming := range s.Names {
		at, err := parsePath(naming.Target)
		if err != nil || at.ban != "" {
			return fmt.Errorf("read settings: names of %q: want active or label/<label>", naming.Target)
		}
		if _, err := time.Parse(naming.Layout, time.Now().UTC().Format(naming.Layout)); err != nil || !strings.Contains(naming.Layout, "2006") {
			return fmt.Errorf("read settings: names of %q: layout %q holds no time", naming.Target, naming.Layout)
		}
		if slices.ContainsFunc(s.Names[:n], func(other Naming) bool { return other.Target == naming.Target }) {
			return fmt.Errorf("read settings: names of %q are there twice", naming.Target)
		}
	}
	for n, ban := range s.Bans {
		switch {
		case !namePattern.MatchString(ban.Name):
			return fmt.Errorf("read settings: ban %q: malformed name", ban.Name)
		case len(ban.Expression) > maxExpression || !banPattern.MatchString(ban.Expression):
			return fmt.Errorf("read settings: ban %q: want <field> <operator> <value> [&& ...], each without spaces and quotes", ban.Name)
		case slices.ContainsFunc(s.Bans[:n], func(other Ban) bool { return other.Name == ban.Name }):
			return fmt.Errorf("read settings: ban %q is there twice", ban.Name)
		}
	}
	return nil
}

// secret reads the secret, with every byte that the file has: so does Varnish.
func (s Settings) secret() ([]byte, error) {
	content, err := os.ReadFile(s.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if len(bytes.TrimSpace(content)) == 0 || len(content) > maxSecret {
		return nil, fmt.Errorf("read settings: %q is empty or longer than %d bytes", s.SecretFile, maxSecret)
	}
	return content, nil
}

// layout is how the names of a target tell their time; empty when they do not.
func (s Settings) layout(at location) string {
	for _, naming := range s.Names {
		if naming.Target == at.place() {
			return naming.Layout
		}
	}
	if at.label == "" {
		return reloadLayout
	}
	return ""
}

// ban is the expression of a ban.
func (s Settings) ban(name string) (expression string, ok bool) {
	for _, ban := range s.Bans {
		if ban.Name == name {
			return ban.Expression, true
		}
	}
	return "", false
}
