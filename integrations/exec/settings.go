package exec

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

const (
	// defaultTimeout and maxTimeout bound one run of the program.
	defaultTimeout = 30 * time.Second
	maxTimeout     = 10 * time.Minute
	// minSecret is the shortest secret, in bytes, that can be told from other text
	// in an answer.
	minSecret = 8
)

// environmentName is what a variable may be called.
// Source: https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html
var environmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Settings are the configuration of one program.
type Settings struct {
	// Program is the absolute path of the executable. Neither its group nor others
	// may write to it.
	Program string `yaml:"program" json:"program"`
	// Args are passed as they are, one word each.
	Args []string `yaml:"args" json:"args"`
	// Directory is where it runs; "/" when empty.
	Directory string `yaml:"directory" json:"directory"`
	// Environment is its whole environment together with EnvironmentFiles.
	Environment map[string]string `yaml:"environment" json:"environment"`
	// EnvironmentFiles names variables whose value is the one line of a file. They
	// are secrets: an answer that holds one is refused. The files are read again
	// for each run, so that secrets can be rotated.
	EnvironmentFiles map[string]string `yaml:"environment_files" json:"environment_files"`
	// Digest pins the executable, as "sha256:" and 64 hexadecimal digits.
	Digest string `yaml:"digest" json:"digest"`
	// Timeout bounds one run; 30 s when zero, at most 10 min.
	Timeout time.Duration `yaml:"timeout" json:"timeout"`
}

// check reports what is wrong with the settings themselves. It does not look for
// the program: one that is missing must not keep Backout from starting.
func (s Settings) check() error {
	switch {
	case !filepath.IsAbs(s.Program) || filepath.Clean(s.Program) != s.Program:
		return fmt.Errorf("read settings: program %q is no absolute path", s.Program)
	case s.Directory != "" && !filepath.IsAbs(s.Directory):
		return fmt.Errorf("read settings: directory %q is no absolute path", s.Directory)
	case s.Digest != "" && !incident.ValidDigest(s.Digest):
		return errors.New("read settings: digest is not \"sha256:\" and 64 hexadecimal digits")
	case s.Timeout < 0 || s.Timeout > maxTimeout:
		return fmt.Errorf("read settings: timeout %s is not between 0 and %s", s.Timeout, maxTimeout)
	}
	for _, arg := range s.Args {
		if strings.ContainsRune(arg, 0) {
			return errors.New("read settings: an argument holds a zero byte")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		if !environmentName.MatchString(name) || strings.ContainsRune(s.Environment[name], 0) {
			return fmt.Errorf("read settings: environment variable %q is malformed", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.EnvironmentFiles)) {
		if !environmentName.MatchString(name) {
			return fmt.Errorf("read settings: environment variable %q is malformed", name)
		}
		if _, dup := s.Environment[name]; dup {
			return fmt.Errorf("read settings: environment variable %q is set twice", name)
		}
		if _, err := secret(s.EnvironmentFiles[name]); err != nil {
			return err
		}
	}
	return nil
}

// environment is the whole environment of one run, and the secrets in it. It is
// never nil: a nil environment would hand on that of Backout.
func (s Settings) environment() (variables, secrets []string, err error) {
	variables = []string{}
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		variables = append(variables, name+"="+s.Environment[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.EnvironmentFiles)) {
		value, err := secret(s.EnvironmentFiles[name])
		if err != nil {
			return nil, nil, err
		}
		variables = append(variables, name+"="+value)
		secrets = append(secrets, value)
	}
	return variables, secrets, nil
}

// secret reads a file that holds one line.
func secret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read settings: %w", err)
	}
	line := strings.TrimRight(string(content), "\r\n")
	if len(line) < minSecret || strings.ContainsAny(line, "\x00\r\n") {
		return "", fmt.Errorf("read settings: %q does not hold one line of %d bytes or more", path, minSecret)
	}
	return line, nil
}
