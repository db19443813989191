package caddy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// keptStates is how many captured states of one target are kept.
const keptStates = 200

// The authors of captured states.
const (
	// seen is a state that the recorder, or Apply, found in force.
	seen = "seen"
	// backoutAuthor is a state that Backout put in force.
	backoutAuthor = "backout"
)

// entryPattern is the name of a file in the history: when it was captured, in
// microseconds since 1970, the digest of its content, and by whom it was put in
// force.
var entryPattern = regexp.MustCompile(`^([0-9]{17,20})-([0-9a-f]{64})-(seen|backout)\.json$`)

// history is the folder of captured states. Each target has a folder of its own in
// it, with a file for each time that a state was found there. Files are made whole
// and never changed, so that several processes can share it.
type history struct {
	folder string
	system string
}

// entry is one captured state.
type entry struct {
	at     time.Time
	digest string
	author string
	file   string
}

func (h history) place(at location) string {
	sum := sha256.Sum256([]byte(h.system + "\x00" + at.path))
	return filepath.Join(h.folder, hex.EncodeToString(sum[:16]))
}

// list reads the captured states of a target, oldest first. A state that was captured
// several times in a row is there once.
func (h history) list(at location) ([]entry, error) {
	all, err := h.files(at)
	if err != nil {
		return nil, err
	}
	return slices.CompactFunc(all, func(a, b entry) bool { return a.digest == b.digest }), nil
}

func (h history) files(at location) ([]entry, error) {
	found, err := os.ReadDir(h.place(at))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	var entries []entry
	for _, file := range found {
		match := entryPattern.FindStringSubmatch(file.Name())
		if match == nil {
			continue // A file that is being made, or somebody else's.
		}
		micros, err := strconv.ParseInt(match[1], 10, 64)
		if err != nil {
			continue
		}
		entries = append(entries, entry{at: time.UnixMicro(micros).UTC(), digest: "sha256:" + match[2], author: match[3], file: filepath.Join(h.place(at), file.Name())})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.at.UnixMicro(), b.at.UnixMicro()) })
	return entries, nil
}

// capture keeps a state, if the latest captured one is another.
func (h history) capture(at location, state content, now time.Time, author string) error {
	entries, err := h.files(at)
	if err != nil {
		return err
	}
	if last := len(entries) - 1; last >= 0 {
		if entries[last].digest == state.digest() {
			return nil
		}
		// Clocks of several machines differ: what is captured later comes later.
		if !now.After(entries[last].at) {
			now = entries[last].at.Add(time.Microsecond)
		}
	}
	if err := h.make(at, state, now, author); err != nil {
		return fmt.Errorf("capture the state: %w", err)
	}
	// The oldest are forgotten. Whoever else did so was only faster.
	for _, old := range entries[:max(0, len(entries)+1-keptStates)] {
		if err := os.Remove(old.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget a captured state: %w", err)
		}
	}
	return nil
}

// make writes a file as a whole.
func (h history) make(at location, state content, now time.Time, author string) error {
	place := h.place(at)
	if err := os.MkdirAll(place, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(place, ".new-") // Readable by its owner only.
	if err != nil {
		return err
	}
	_, err = temporary.Write(state)
	if err == nil {
		err = temporary.Sync()
	}
	if err := errors.Join(err, temporary.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	name := fmt.Sprintf("%017d-%s-%s.json", now.UnixMicro(), state.digest()[len("sha256:"):], author)
	return os.Rename(temporary.Name(), filepath.Join(place, name))
}

// read reads a state of the history again and checks it.
func (e entry) read() (content, error) {
	text, err := os.ReadFile(e.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the captured state was forgotten", driver.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read a captured state: %w", err)
	}
	state := content(text)
	if state.digest() != e.digest {
		return nil, fmt.Errorf("%w: the captured state was altered", driver.ErrNotFound)
	}
	return state, nil
}

// before is the last state that was captured before a moment.
func before(entries []entry, moment time.Time) (entry, bool) {
	found, ok := entry{}, false
	for _, one := range entries {
		if one.at.Before(moment) {
			found, ok = one, true
		}
	}
	return found, ok
}

// named reads a state that the settings give a name.
func (c *connection) named(state NamedState) (content, error) {
	info, err := os.Stat(state.File)
	if err != nil {
		return nil, fmt.Errorf("read state %q: %w", state.Name, err)
	}
	if info.Size() > maxContent {
		return nil, fmt.Errorf("read state %q: it is larger than %d bytes", state.Name, maxContent)
	}
	text, err := os.ReadFile(state.File)
	if err != nil {
		return nil, fmt.Errorf("read state %q: %w", state.Name, err)
	}
	parsed, err := parseContent(text)
	if err != nil {
		return nil, fmt.Errorf("read state %q: %w", state.Name, err)
	}
	return parsed, nil
}

// find reads the content of a state by its digest: from the history, or from the
// files that the settings name.
func (c *connection) find(at location, state incident.State) (content, error) {
	entries, err := c.history.files(at)
	if err != nil {
		return nil, err
	}
	for _, one := range slices.Backward(entries) {
		if one.digest == state.Digest {
			return one.read()
		}
	}
	for _, one := range c.settings.States {
		if one.Target != at.path {
			continue
		}
		if found, err := c.named(one); err == nil && found.digest() == state.Digest {
			return found, nil
		}
	}
	return nil, fmt.Errorf("find state %s (%s): %w: it is not among the captured ones", state.Revision, incident.ShortDigest(state.Digest), driver.ErrNotFound)
}
