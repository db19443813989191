package exec

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "exec"

const (
	// maxParallel is how many runs of one program there are at one time.
	maxParallel = 4
	// maxProgram bounds the executable whose digest is taken, in bytes.
	maxProgram = 1 << 30
	// othersMayWrite are the permissions that an executable must not give.
	othersMayWrite = 0o022
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// program is one configured program.
type program struct {
	name     string
	settings Settings
	// slots holds a place for each run under way.
	slots chan struct{}
}

// open reads the settings and runs nothing.
func open(_ context.Context, s driver.System) (*program, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	if err := settings.check(); err != nil {
		return nil, err
	}
	if settings.Timeout == 0 {
		settings.Timeout = defaultTimeout
	}
	if settings.Directory == "" {
		settings.Directory = "/"
	}
	return &program{name: s.Name, settings: settings, slots: make(chan struct{}, maxParallel)}, nil
}

// Reach asks the program who it is.
func (p *program) Reach(ctx context.Context) error {
	_, err := p.ask(ctx, question{Verb: verbAbout})
	return err
}

// ask runs the program for one question. An error that wraps errProtocol says
// that there was no answer to the question; whether there was an effect is not
// known then.
func (p *program) ask(ctx context.Context, q question) (answer, error) {
	a, _, err := p.asked(ctx, q)
	return a, err
}

// asked is ask with the secrets of the program's environment, which no answer may hold.
func (p *program) asked(ctx context.Context, q question) (answer, []string, error) {
	id := make([]byte, idBytes)
	_, _ = rand.Read(id) // It never fails: see crypto/rand.
	q.Protocol, q.ID, q.System = Protocol, hex.EncodeToString(id), p.name
	body, err := json.Marshal(q)
	if err != nil {
		return answer{}, nil, fmt.Errorf("encode question: %w", err)
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return answer{}, nil, context.Cause(ctx)
	}
	if err := p.fit(); err != nil {
		return answer{}, nil, err
	}
	variables, secrets, err := p.settings.environment()
	if err != nil {
		return answer{}, nil, err
	}
	said, err := run(ctx, command{
		path: p.settings.Program, args: p.settings.Args, directory: p.settings.Directory,
		environment: variables, input: append(body, '\n'), timeout: p.settings.Timeout,
	})
	if err != nil {
		return answer{}, nil, err
	}
	a, err := decode(said, q)
	if err != nil {
		return answer{}, nil, err
	}
	if leaks(said, a, secrets) {
		return answer{}, nil, violation("the answer holds a secret of the program's environment")
	}
	return a, secrets, a.Error.asError()
}

// fit reports what keeps the executable from being run.
func (p *program) fit() error {
	path := p.settings.Program
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("run %q: there is no such program", path)
	case err != nil:
		return fmt.Errorf("run program: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("run %q: %w: it is no regular file", path, driver.ErrInvalid)
	case info.Mode().Perm()&othersMayWrite != 0:
		return fmt.Errorf("run %q: %w: its group or others may write to it", path, driver.ErrInvalid)
	case p.settings.Digest == "":
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("run program: %w", err)
	}
	defer func() { _ = file.Close() }() // It was only read.
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(file, maxProgram)); err != nil {
		return fmt.Errorf("run program: %w", err)
	}
	if "sha256:"+hex.EncodeToString(sum.Sum(nil)) != p.settings.Digest {
		return fmt.Errorf("run %q: %w: its digest is not the one that is configured", path, driver.ErrInvalid)
	}
	return nil
}

// leaks reports whether an answer holds a secret, as it was written or as it was
// understood.
func leaks(said []byte, a answer, secrets []string) bool {
	var understood bytes.Buffer
	encoder := json.NewEncoder(&understood)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(a); err != nil {
		return true
	}
	for _, s := range secrets {
		inJSON, err := json.Marshal(s)
		if err != nil {
			return true
		}
		for _, spelling := range append(spellings(s), string(bytes.Trim(inJSON, `"`))) {
			if bytes.Contains(said, []byte(spelling)) || bytes.Contains(understood.Bytes(), []byte(spelling)) {
				return true
			}
		}
	}
	return false
}
