package exectest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

// Keep is how many releases of a service are kept.
const Keep = 6

// Releases is a folder of release pointers, and the means to deploy past the
// program.
type Releases struct {
	// Program is the path of the sample.
	Program string
	// Dir is the folder, and Service the one service in it.
	Dir, Service string
	// Tokens are those of the owner and of the reader.
	Tokens map[drivertest.Credential]string

	mu sync.Mutex
}

// Release is one revision of a pointer.
type Release struct {
	Revision int       `json:"revision"`
	Version  string    `json:"version"`
	Settings string    `json:"settings,omitempty"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Key      string    `json:"key,omitempty"`
	Recalled bool      `json:"recalled,omitempty"`
}

// Pointer is the file of a service.
type Pointer struct {
	Keep      int       `json:"keep"`
	Deploying string    `json:"deploying,omitempty"`
	Releases  []Release `json:"releases"`
}

// NewReleases makes a folder with a service that was never released.
func NewReleases(tb testing.TB) *Releases {
	tb.Helper()
	r := &Releases{
		Program: Build(tb, "sample"), Dir: tb.TempDir(), Service: "checkout",
		Tokens: map[drivertest.Credential]string{drivertest.Owner: "canary-" + rand.Text(), drivertest.Reader: "canary-" + rand.Text()},
	}
	access := map[string]string{
		incident.DigestOf([]byte(r.Tokens[drivertest.Owner])):  "write",
		incident.DigestOf([]byte(r.Tokens[drivertest.Reader])): "read",
	}
	content, err := json.Marshal(access)
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(filepath.Join(r.Dir, "access.json"), content, 0o600))
	for as, token := range r.Tokens {
		require.NoError(tb, os.WriteFile(r.tokenFile(as), []byte(token+"\n"), 0o600))
	}
	return r
}

func (r *Releases) tokenFile(as drivertest.Credential) string {
	return filepath.Join(r.Dir, fmt.Sprintf("token-%d", as))
}

func (r *Releases) path() string { return filepath.Join(r.Dir, r.Service+".json") }

// Settings are the settings of a system that runs the sample, with others laid
// over them.
func (r *Releases) Settings(as drivertest.Credential, over map[string]any) map[string]any {
	settings := map[string]any{
		"program":           r.Program,
		"args":              []string{"-dir", r.Dir},
		"environment_files": map[string]string{"RELEASES_TOKEN": r.tokenFile(as)},
	}
	maps.Copy(settings, over)
	return settings
}

// System is the configuration of a system that runs the sample.
func (r *Releases) System(as drivertest.Credential) driver.System {
	return driver.System{Name: "releases", Type: "exec", Decode: drivertest.Settings(r.Settings(as, nil))}
}

// Read reads the pointer.
func (r *Releases) Read() (Pointer, error) {
	content, err := os.ReadFile(r.path())
	if errors.Is(err, os.ErrNotExist) {
		return Pointer{Keep: Keep}, nil
	}
	if err != nil {
		return Pointer{}, fmt.Errorf("read pointer: %w", err)
	}
	var p Pointer
	if err := json.Unmarshal(content, &p); err != nil {
		return Pointer{}, fmt.Errorf("read pointer: %w", err)
	}
	return p, nil
}

// change changes the pointer as everybody has to: under the lock, by a rename.
func (r *Releases) change(change func(p *Pointer)) error {
	unlock, err := r.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	p, err := r.Read()
	if err != nil {
		return err
	}
	change(&p)
	content, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode pointer: %w", err)
	}
	next := r.path() + ".deploy"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return fmt.Errorf("write pointer: %w", err)
	}
	return os.Rename(next, r.path())
}

// Lock takes the lock that everybody has to take who changes the pointer.
func (r *Releases) Lock() (unlock func(), err error) {
	r.mu.Lock()
	lock, err := os.OpenFile(r.path()+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		r.mu.Unlock()
		return nil, fmt.Errorf("lock pointer: %w", err)
	}
	return func() {
		_ = lock.Close() // The lock goes with it.
		r.mu.Unlock()
	}, nil
}

// Deploy releases a version.
func (r *Releases) Deploy(version, settings, by string) error {
	return r.change(func(p *Pointer) {
		revision := 1
		if n := len(p.Releases); n > 0 {
			revision = p.Releases[n-1].Revision + 1
		}
		p.Releases = append(p.Releases, Release{Revision: revision, Version: version, Settings: settings, At: time.Now().UTC(), By: by})
		p.Releases = p.Releases[max(0, len(p.Releases)-p.Keep):]
	})
}

// Recall says that the release that runs must never run again, once it has been
// left.
func (r *Releases) Recall() error {
	return r.change(func(p *Pointer) { p.Releases[len(p.Releases)-1].Recalled = true })
}

// Begin marks a deploy that is under way.
func (r *Releases) Begin(version string) error {
	return r.change(func(p *Pointer) { p.Deploying = version })
}

// Digest is a digest of the release that runs, with its settings.
func (r *Releases) Digest(context.Context) (string, error) {
	p, err := r.Read()
	if err != nil || len(p.Releases) == 0 {
		return "none", err
	}
	last := p.Releases[len(p.Releases)-1]
	return incident.DigestOf(fmt.Appendf(nil, "%q %q", last.Version, last.Settings)), nil
}

// Changes counts the releases that there ever were.
func (r *Releases) Changes(context.Context) (int, error) {
	p, err := r.Read()
	if err != nil || len(p.Releases) == 0 {
		return 0, err
	}
	return p.Releases[len(p.Releases)-1].Revision, nil
}
