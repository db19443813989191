package lint_test

import (
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/backout/backout"

	// toolEnv names the linter's binary when it is not on the path.
	toolEnv = "BACKOUT_GOLANGCI_LINT"

	install = "go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0"
)

var (
	// reported tells from an issue's text which depguard rule or which
	// identifier it is about.
	reported = map[string]*regexp.Regexp{
		"depguard":  regexp.MustCompile(`^import '.*' is not allowed from list '([^']+)'`),
		"forbidigo": regexp.MustCompile("^use of `([^`]+)` forbidden"),
	}
	wanted = regexp.MustCompile(`// want (depguard|forbidigo) (.+)$`)
)

// config is the part of .golangci.yml that the fixtures prove.
type config struct {
	Linters struct {
		Settings struct {
			Depguard struct {
				Rules map[string]struct {
					Deny []struct {
						Pkg string `yaml:"pkg"`
					} `yaml:"deny"`
				} `yaml:"rules"`
			} `yaml:"depguard"`
			Forbidigo struct {
				Forbid []struct {
					Pattern string `yaml:"pattern"`
				} `yaml:"forbid"`
			} `yaml:"forbidigo"`
		} `yaml:"settings"`
	} `yaml:"linters"`
}

func TestRulesBite(t *testing.T) {
	t.Parallel()
	tool := findLinter(t)
	rules, err := os.ReadFile(filepath.Join("..", "..", ".golangci.yml"))
	require.NoError(t, err)
	archive, err := txtar.ParseFile(filepath.Join("testdata", "fixtures.txtar"))
	require.NoError(t, err)
	dir := writeModule(t, archive, rules)

	want := map[string][]string{}
	for _, file := range archive.Files {
		for i, line := range strings.Split(string(file.Data), "\n") {
			if m := wanted.FindStringSubmatch(line); m != nil {
				for name := range strings.FieldsSeq(m[2]) {
					at := fmt.Sprintf("%s:%d", file.Name, i+1)
					want[at] = append(want[at], m[1]+" "+name)
				}
			}
		}
	}
	got := lint(t, tool, dir)
	for at := range want {
		slices.Sort(want[at])
	}
	require.Equal(t, want, got)

	proveEachEntry(t, archive, rules, want)
}

// proveEachEntry demands for every entry of the configuration a line of the
// fixtures that it, and not only its neighbour, is there to forbid.
func proveEachEntry(t *testing.T, archive *txtar.Archive, rules []byte, want map[string][]string) {
	t.Helper()
	var cfg config
	require.NoError(t, yaml.Unmarshal(rules, &cfg))
	require.NotEmpty(t, cfg.Linters.Settings.Depguard.Rules)
	require.NotEmpty(t, cfg.Linters.Settings.Forbidigo.Forbid)

	imports := map[string][]string{} // By rule.
	var identifiers []string
	for _, file := range archive.Files {
		for i, line := range strings.Split(string(file.Data), "\n") {
			for _, w := range want[fmt.Sprintf("%s:%d", file.Name, i+1)] {
				linter, name, _ := strings.Cut(w, " ")
				if linter == "forbidigo" {
					identifiers = append(identifiers, name)
					continue
				}
				_, quoted, ok := strings.Cut(line, `"`)
				require.True(t, ok, line)
				imported, _, ok := strings.Cut(quoted, `"`)
				require.True(t, ok, line)
				imports[name] = append(imports[name], imported)
			}
		}
	}
	for name, rule := range cfg.Linters.Settings.Depguard.Rules {
		require.NotEmpty(t, imports[name], "depguard rule %q has no bad fixture", name)
		for _, deny := range rule.Deny {
			require.True(t, slices.ContainsFunc(imports[name], func(imported string) bool {
				exact, ok := strings.CutSuffix(deny.Pkg, "$")
				return ok && imported == exact || !ok && strings.HasPrefix(imported, deny.Pkg)
			}), "depguard rule %q denies %q without a bad fixture", name, deny.Pkg)
		}
	}
	for _, forbid := range cfg.Linters.Settings.Forbidigo.Forbid {
		require.True(t, slices.ContainsFunc(identifiers, regexp.MustCompile(forbid.Pattern).MatchString),
			"forbidigo pattern %q has no bad fixture", forbid.Pattern)
	}
}

// findLinter returns the path of golangci-lint. Where it is missing the test
// cannot run; in CI that is a failure.
func findLinter(t *testing.T) string {
	t.Helper()
	if tool := os.Getenv(toolEnv); tool != "" {
		return tool
	}
	tool, err := exec.LookPath("golangci-lint")
	if err != nil && os.Getenv("CI") == "" {
		t.Skipf("golangci-lint is not on the path: %s", install)
	}
	require.NoError(t, err, install)
	return tool
}

// lint runs the two linters in dir and returns what they report, by place.
func lint(t *testing.T, tool, dir string) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool, "run", "--enable-only=depguard,forbidigo",
		"--max-issues-per-linter=0", "--max-same-issues=0", "--uniq-by-line=false", "--issues-exit-code=0",
		"--allow-parallel-runners", "--output.json.path=stdout", "--show-stats=false", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "GOLANGCI_LINT_CACHE="+t.TempDir())
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	require.NoError(t, err, "%s%s", out, &complaints)

	var report struct {
		Issues []struct {
			FromLinter string
			Text       string
			Pos        struct {
				Filename string
				Line     int
			}
		}
	}
	require.NoError(t, json.Unmarshal(out, &report), string(out))
	got := map[string][]string{}
	for _, issue := range report.Issues {
		text, ok := reported[issue.FromLinter]
		require.True(t, ok, "%s: %s", issue.FromLinter, issue.Text)
		name := text.FindStringSubmatch(issue.Text)
		require.NotNil(t, name, issue.Text)
		at := filepath.ToSlash(issue.Pos.Filename) + ":" + strconv.Itoa(issue.Pos.Line)
		got[at] = append(got[at], issue.FromLinter+" "+name[1])
	}
	for at := range got {
		slices.Sort(got[at])
	}
	return got
}

// writeModule lays the fixtures out as a module of the product's own name with
// its configuration, and an empty package for whatever they import.
func writeModule(t *testing.T, archive *txtar.Archive, rules []byte) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	write(".golangci.yml", string(rules))
	packages := map[string]bool{}
	for _, file := range archive.Files {
		write(file.Name, string(file.Data))
		if !strings.HasSuffix(file.Name, "_test.go") {
			packages[module+"/"+path.Dir(file.Name)] = true
		}
	}

	gomod := "module " + module + "\n\ngo 1.26\n"
	modules := map[string]bool{}
	for _, imported := range thirdParty(t, archive) {
		if packages[imported] {
			continue
		}
		stub := "package stub\n"
		if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
			write(inside+"/stub.go", stub)
			continue
		}
		root, version := moduleOf(imported)
		write("stubs/"+imported+"/stub.go", stub)
		if !modules[root] {
			modules[root] = true
			write("stubs/"+root+"/go.mod", "module "+root+"\n\ngo 1.26\n")
			gomod += fmt.Sprintf("\nrequire %s %s\n\nreplace %s => ./stubs/%s\n", root, version, root, root)
		}
	}
	write("go.mod", gomod)
	return dir
}

// thirdParty returns what the fixtures import beside the standard library.
func thirdParty(t *testing.T, archive *txtar.Archive) []string {
	t.Helper()
	var all []string
	for _, file := range archive.Files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file.Name, file.Data, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
				all = append(all, imported)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// moduleOf guesses the module of a package and a version that fits its name.
func moduleOf(imported string) (root, version string) {
	parts := strings.Split(imported, "/")
	n := 2
	if parts[0] == "github.com" {
		n = 3
	}
	n = min(n, len(parts))
	if len(parts) > n && regexp.MustCompile(`^v\d+$`).MatchString(parts[n]) {
		n++
	}
	root, version = strings.Join(parts[:n], "/"), "v0.0.0"
	if m := regexp.MustCompile(`[/.](v\d+)$`).FindStringSubmatch(root); m != nil {
		version = m[1] + ".0.0"
	}
	return root, version
}
