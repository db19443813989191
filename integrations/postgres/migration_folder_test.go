package postgres

import (
	"hash/crc64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
)

func files(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func TestReadFolder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		tool  string
		files map[string]string
		check func(t *testing.T, f folder)
		says  string
	}{
		{name: "golang-migrate", tool: golangMigrate, files: map[string]string{
			"2_b.up.sql": "up 2", "2_b.down.sql": "down 2", "000010_c_d.up.sql": "up 10", "README.md": "no",
		}, check: func(t *testing.T, f folder) {
			t.Helper()
			require.Len(t, f, 2)
			require.Equal(t, migration{version: 2, name: "b", up: script{there: true, text: "up 2"}, down: script{there: true, text: "down 2"}}, f[0])
			require.Equal(t, "version 10 (c_d)", f[1].label())
			require.False(t, f[1].down.there)
		}},
		{name: "golang-migrate with a version twice", tool: golangMigrate, files: map[string]string{"1_a.up.sql": "", "001_b.up.sql": ""}, says: "used twice"},
		{name: "version 0", tool: golangMigrate, files: map[string]string{"0_a.up.sql": ""}, says: "from 1 on"},
		{name: "too large", tool: golangMigrate, files: map[string]string{"1_a.up.sql": strings.Repeat(" ", maxScript+1)}, says: "more than"},
		{name: "goose", tool: goose, files: map[string]string{
			"1_a.sql":       "-- a comment\n-- +goose Up\n-- +goose StatementBegin\nup;\n-- +goose StatementEnd\n-- +goose Down\ndown;\n",
			"2_b.sql":       "-- +goose NO TRANSACTION\n-- +goose Up\nup;\n-- +goose Down\ndown;\n",
			"3_c.go":        "package main",
			"4_d.sql":       "-- +goose ENVSUB ON\n-- +goose Up\nup;\n",
			"main_test.go":  "package main",
			"notes_1_a.sql": "",
		}, check: func(t *testing.T, f folder) {
			t.Helper()
			require.Len(t, f, 4)
			require.Equal(t, "up;\n", f[0].up.text)
			require.Equal(t, "down;\n", f[0].down.text)
			require.Empty(t, f[0].down.obstacle)
			require.Contains(t, f[1].down.obstacle, "not to be run in a transaction")
			require.Contains(t, f[2].down.obstacle, "program in Go")
			require.Contains(t, f[3].up.obstacle, "annotation")
			require.False(t, f[3].down.there)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := readFolder(files(t, tt.files), tools[tt.tool])
			if tt.says != "" {
				require.ErrorContains(t, err, tt.says)
				return
			}
			require.NoError(t, err)
			tt.check(t, f)
		})
	}
}

// TestHistoryDigest shows that the files of the versions in the database, and only
// these, are part of its state.
func TestHistoryDigest(t *testing.T) {
	t.Parallel()
	tool := tools[goose]
	three := folder{{version: 1, down: script{there: true, text: "a"}}, {version: 2}, {version: 3}}
	h := history{version: 2, applied: []applied{{version: 1}, {version: 2}}}
	digest := h.digest(tool, three)
	require.Equal(t, digest, h.digest(tool, three[:2]), "a newer file changed the state")
	require.Equal(t, digest, history{version: 2, applied: []applied{{version: 2}, {version: 1}}}.digest(tool, three), "the order of application changed the state")
	changed := folder{{version: 1, down: script{there: true, text: "b"}}, {version: 2}}
	require.NotEqual(t, digest, h.digest(tool, changed), "another down step is the same state")
	h.dirty = true
	require.NotEqual(t, digest, h.digest(tool, three), "a dirty state is the same state")
}

// TestGooseRows shows that the last row of a version decides.
func TestGooseRows(t *testing.T) {
	t.Parallel()
	at := func(version, flag string, second string) row {
		return row{{text: version}, {text: flag}, {text: second + ".5"}}
	}
	h, err := readGoose([]row{at("0", "true", "10"), at("1", "true", "20"), at("2", "true", "30"), at("2", "false", "40"), at("1", "true", "50")}, nil)
	require.NoError(t, err)
	require.Equal(t, int64(1), h.version)
	require.Equal(t, []applied{{version: 1, at: time.Unix(50, 5e8).UTC()}}, h.applied)
	require.Equal(t, time.Unix(10, 5e8).UTC(), h.began)
	require.Equal(t, "0:true,1:true,2:true,2:false,1:true", h.exact)
	_, err = readGoose([]row{{{text: "x"}, {text: "true"}, {null: true}}}, nil)
	require.Error(t, err)
}

// TestLocks compares with what the tools compute: golang-migrate's own test has the
// first number, and goose says of its lock that it is a checksum of its name.
func TestLocks(t *testing.T) {
	t.Parallel()
	set := MigrationSet{Schema: "schema_name_1", Table: "schema_name_2"}
	locks := golangMigrateLocks("database_name", set)
	require.Len(t, locks, 2)
	require.Equal(t, int64(3743845847), locks[0])
	require.NotEqual(t, locks[0], locks[1], "both spellings of the database have the same lock")
	require.Equal(t, []int64{int64(crc64.Checksum([]byte("goose"), crc64.MakeTable(crc64.ECMA)))}, gooseLocks("database_name", set))
	set.Lock = 7
	require.Equal(t, []int64{7}, golangMigrateLocks("shop", set))
	require.Equal(t, []int64{7}, gooseLocks("shop", set))
}

func TestSettings(t *testing.T) {
	t.Parallel()
	good := func() Settings {
		return Settings{Host: "db.example.org", Database: "shop", User: "backout", PasswordFile: "/run/secrets/db"}
	}
	s := good()
	cfg, err := s.config()
	require.NoError(t, err)
	require.NotNil(t, cfg.TLSConfig, "the connection is not protected by default")
	require.False(t, cfg.TLSConfig.InsecureSkipVerify)
	require.Equal(t, "db.example.org", cfg.TLSConfig.ServerName)
	require.Empty(t, cfg.Fallbacks, "a connection without protection is a fallback")
	require.Empty(t, cfg.Password)
	tests := []struct {
		name   string
		change func(s *Settings)
		says   string
	}{
		{"no host", func(s *Settings) { s.Host = "" }, "host"},
		{"several hosts", func(s *Settings) { s.Host = "a,b" }, "host"},
		{"a URL", func(s *Settings) { s.Host = "postgres://u:p@h/d" }, "host"},
		{"bad port", func(s *Settings) { s.Port = 70000 }, "port"},
		{"no user", func(s *Settings) { s.User = "" }, "user"},
		{"no credential", func(s *Settings) { s.PasswordFile = "" }, "password_file"},
		{"tls off with settings", func(s *Settings) { s.TLS = TLS{Off: true, CAFile: "x"} }, "tls is off"},
		{"key without certificate", func(s *Settings) { s.TLS.KeyFile = "x" }, "belong together"},
		{"unknown tool", func(s *Settings) { s.Migrations = []MigrationSet{{Name: "a", Tool: "flyway", Folder: "/m"}} }, "unknown tool"},
		{"no folder", func(s *Settings) { s.Migrations = []MigrationSet{{Name: "a", Tool: goose}} }, "folder"},
		{"set twice", func(s *Settings) {
			s.Migrations = []MigrationSet{{Name: "a", Tool: goose, Folder: "/m"}, {Name: "a", Tool: goose, Folder: "/n"}}
		}, "used twice"},
		{"path as a name", func(s *Settings) { s.Roles = []RoleSecrets{{Name: "a/b", Folder: "/m"}} }, "malformed"},
		{"restore of the own database", func(s *Settings) { s.Restores = []Restore{{Name: "a", Database: "shop", Folder: "/d", Owner: "o"}} }, "another one"},
		{"restore of a long name", func(s *Settings) {
			s.Restores = []Restore{{Name: "a", Database: strings.Repeat("a", 41), Folder: "/d", Owner: "o"}}
		}, "longer than"},
		{"restore without an owner", func(s *Settings) { s.Restores = []Restore{{Name: "a", Database: "b", Folder: "/d"}} }, "owner"},
		{"restore twice", func(s *Settings) {
			s.Restores = []Restore{{Name: "a", Database: "b", Folder: "/d", Owner: "o"}, {Name: "a", Database: "c", Folder: "/d", Owner: "o"}}
		}, "used twice"},
		{"role without a folder", func(s *Settings) { s.Roles = []RoleSecrets{{Name: "a"}} }, "folder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := good()
			tt.change(&s)
			_, err := s.config()
			require.ErrorContains(t, err, tt.says)
		})
	}
	_, err = open(t.Context(), driver.System{Decode: func(any) error { return errMoved }})
	require.ErrorIs(t, err, errMoved)
}
