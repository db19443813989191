package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// defaultPort is the port that PostgreSQL listens on.
// Source: https://www.postgresql.org/docs/current/runtime-config-connection.html
const defaultPort = 5432

// maxName is the longest name that PostgreSQL keeps, in bytes.
// Source: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
const maxName = 63

// Settings are the configuration of one PostgreSQL database. Secrets are in
// files, never in the settings, and are read again at every connect, so that they
// can be rotated. Nothing is taken from the environment.
type Settings struct {
	// Host is the name or address of the server, not of a pooler of
	// transactions.
	Host string `yaml:"host" json:"host"`
	// Port is 5432 when it is 0.
	Port int `yaml:"port" json:"port"`
	// Database and User are whom to connect to and as.
	Database string `yaml:"database" json:"database"`
	User     string `yaml:"user" json:"user"`
	// PasswordFile holds the password; empty with a client certificate.
	PasswordFile string `yaml:"password_file" json:"password_file"`
	TLS          TLS    `yaml:"tls" json:"tls"`
	// Migrations are the sets of migrations that may be taken back.
	Migrations []MigrationSet `yaml:"migrations" json:"migrations"`
	// Roles are the roles whose credentials may be changed.
	Roles []RoleSecrets `yaml:"roles" json:"roles"`
	// Restores are the databases that a dump may be put in the place of.
	Restores []Restore `yaml:"restores" json:"restores"`
}

// TLS says how the connection is protected. Without a word the server has to show
// a certificate for its host that the authorities of the machine vouch for.
type TLS struct {
	// Off is for a server on this machine. Only SCRAM is spoken then, which does
	// not send the password.
	Off bool `yaml:"off" json:"off"`
	// CAFile, CertFile and KeyFile are in PEM form.
	CAFile   string `yaml:"ca_file" json:"ca_file"`
	CertFile string `yaml:"cert_file" json:"cert_file"`
	KeyFile  string `yaml:"key_file" json:"key_file"`
	// ServerName is the name in the certificate, where it is not Host.
	ServerName string `yaml:"server_name" json:"server_name"`
}

// MigrationSet is one folder of migrations and the table that says which of them
// are in the database.
type MigrationSet struct {
	// Name is the path of the target.
	Name string `yaml:"name" json:"name"`
	// Tool is "golang-migrate" or "goose".
	Tool string `yaml:"tool" json:"tool"`
	// Folder holds the files of the version that is deployed.
	Folder string `yaml:"folder" json:"folder"`
	// Schema and Table are where the tool keeps its version: "public", and
	// "schema_migrations" or "goose_db_version", when empty.
	Schema string `yaml:"schema" json:"schema"`
	Table  string `yaml:"table" json:"table"`
	// SearchPath is where names without a schema are looked up; Schema alone when
	// empty.
	SearchPath []string `yaml:"search_path" json:"search_path"`
	// Role owns the schema, and is taken on for the one transaction. Empty runs the
	// steps as User.
	Role string `yaml:"role" json:"role"`
	// Lock is the advisory lock of the tool, where it was told to take another than
	// its own.
	Lock int64 `yaml:"lock" json:"lock"`
}

// setName is what a set, a role's entry or a restore may be called: it is a path.
var setName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

// config checks the settings and makes the configuration of the client from them,
// without a password.
func (s *Settings) config() (*pgconn.Config, error) {
	if s.Port == 0 {
		s.Port = defaultPort
	}
	switch {
	case s.Host == "" || strings.ContainsAny(s.Host, "/,@ "):
		return nil, fmt.Errorf("read settings: host %q is not the name or address of one server", s.Host)
	case s.Port < 1 || s.Port > 65535:
		return nil, fmt.Errorf("read settings: port %d is not between 1 and 65535", s.Port)
	case s.Database == "" || s.User == "":
		return nil, errors.New("read settings: database and user must be set")
	case s.PasswordFile == "" && s.TLS.CertFile == "":
		return nil, errors.New("read settings: either password_file or tls.cert_file must be set")
	case s.TLS.Off && s.TLS != TLS{Off: true}:
		return nil, errors.New("read settings: tls is off and has settings all the same")
	}
	if err := s.checkSets(); err != nil {
		return nil, err
	}
	// Every setting that the environment could bring is overridden here or below.
	cfg, err := pgconn.ParseConfig("host=127.0.0.1 port=5432 user=backout dbname=backout password=none sslmode=disable passfile='' servicefile='' target_session_attrs=any")
	if err != nil {
		return nil, errors.New("read settings: the environment has settings of PostgreSQL that can not be understood")
	}
	cfg.Host, cfg.Port, cfg.Database, cfg.User, cfg.Password = s.Host, uint16(s.Port), s.Database, s.User, ""
	cfg.Fallbacks = nil
	cfg.ConnectTimeout = connectTimeout
	cfg.RequireAuth = ""
	cfg.RuntimeParams = map[string]string{
		"application_name": "backout",
		// How scripts are taken apart depends on these.
		"client_encoding":             "UTF8",
		"standard_conforming_strings": "on",
		"DateStyle":                   "ISO",
		// A warning would be an answer before the end, and nobody reads it.
		"client_min_messages": "error",
	}
	if s.TLS.Off {
		cfg.RequireAuth = "scram-sha-256"
		return cfg, nil
	}
	cfg.TLSConfig, err = s.TLS.config(s.Host)
	return cfg, err
}

// config is the TLS configuration.
func (t TLS) config(host string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if t.ServerName != "" {
		cfg.ServerName = t.ServerName
	}
	if t.CAFile != "" {
		content, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("read settings: tls.ca_file %q holds no certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("read settings: tls.cert_file and tls.key_file belong together")
	}
	if t.CertFile != "" {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("read client certificate: %w", err)
			}
			return &pair, nil
		}
	}
	return cfg, nil
}

// checkSets checks what may be changed, and fills in what was left out.
func (s *Settings) checkSets() error {
	seen := map[string]bool{}
	for n := range s.Migrations {
		m := &s.Migrations[n]
		if !setName.MatchString(m.Name) || seen[m.Name] {
			return fmt.Errorf("read settings: name %q of a set of migrations is malformed or used twice", m.Name)
		}
		seen[m.Name] = true
		t, ok := tools[m.Tool]
		if !ok {
			return fmt.Errorf("read settings: migrations %q: unknown tool %q, want %q or %q", m.Name, m.Tool, golangMigrate, goose)
		}
		if m.Folder == "" {
			return fmt.Errorf("read settings: migrations %q: folder is empty", m.Name)
		}
		if m.Schema == "" {
			m.Schema = "public"
		}
		if m.Table == "" {
			m.Table = t.table
		}
		if len(m.SearchPath) == 0 {
			m.SearchPath = []string{m.Schema}
		}
		for _, name := range append([]string{m.Schema, m.Table, m.Role}, m.SearchPath...) {
			if len(name) > maxName || strings.ContainsRune(name, 0) {
				return fmt.Errorf("read settings: migrations %q: name %q is longer than %d bytes", m.Name, printable(name, maxShown), maxName)
			}
		}
	}
	if err := s.checkRestores(); err != nil {
		return err
	}
	return checkRoles(s.Roles)
}

// secret reads a file that holds one line.
func secret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	line := strings.TrimRight(string(content), "\r\n")
	if line == "" || strings.ContainsAny(line, "\r\n\x00") {
		return "", fmt.Errorf("read secret: %q does not hold one line", path)
	}
	return line, nil
}
