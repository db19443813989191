// Sample is a complete program for the kind "exec", in one file and with nothing
// but the standard library. It rolls back release pointers that are files: for
// each service <folder>/<service>.json holds the release that runs and the ones
// before it. Whoever deploys takes the lock file beside it, writes a new file and
// renames it over the old one; so does this program.
//
//	sample -dir /srv/releases
//
// The variable RELEASES_TOKEN says who asks. access.json in the folder lists the
// digests of the tokens that may read or write.
//
// It is a plug-in to learn from; the tests of the kind run it.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const protocol = "backout.exec/v1"

// maxQuestion bounds what is read, in bytes. A question has some hundred.
const maxQuestion = 64 << 10

func main() {
	os.Exit(run(os.Args[1:], os.Getenv("RELEASES_TOKEN"), os.Stdin, os.Stdout)) //nolint:forbidigo // It is a command.
}

func run(args []string, token string, stdin io.Reader, stdout io.Writer) int {
	flags := flag.NewFlagSet("sample", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder of the release pointers")
	if err := flags.Parse(args); err != nil || *dir == "" {
		return 2
	}
	var q question
	decoder := json.NewDecoder(io.LimitReader(stdin, maxQuestion))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil || q.Protocol != protocol {
		return 2 // Without an id there is nothing to answer to.
	}
	a := map[string]any{"protocol": protocol, "id": q.ID}
	member, value, err := answer(*dir, token, q)
	if err != nil {
		refused := refusal{Code: "unavailable", Reason: "the pointer could not be read or written"}
		_ = errors.As(err, &refused) // Any other error may hold what nobody should read.
		member, value = "error", refused
	}
	a[member] = value
	if err := json.NewEncoder(stdout).Encode(a); err != nil {
		return 1
	}
	return 0
}

type question struct {
	Protocol string `json:"protocol"`
	ID       string `json:"id"`
	Verb     string `json:"verb"`
	System   string `json:"system"`
	Path     string `json:"path"`
	Plan     struct {
		Revision string    `json:"revision"`
		Before   time.Time `json:"before"`
	} `json:"plan"`
	Action struct {
		From state  `json:"from"`
		To   state  `json:"to"`
		Key  string `json:"key"`
	} `json:"action"`
	Window struct {
		Since time.Time `json:"since"`
		Until time.Time `json:"until"`
	} `json:"window"`
	Params map[string]string `json:"params"`
}

type state struct {
	Revision string `json:"revision"`
	Digest   string `json:"digest"`
	Label    string `json:"label,omitempty"`
}

type check struct {
	Name   string `json:"name"`
	Result string `json:"result"`
	Reason string `json:"reason"`
}

// refusal is an error that the protocol knows.
type refusal struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

func (r refusal) Error() string { return r.Code + ": " + r.Reason }

// answer does what a question asks for and names the member of the answer.
func answer(dir, token string, q question) (member string, value any, err error) {
	if q.Verb == "about" {
		if _, err := rights(dir, token); err != nil {
			return "", nil, err
		}
		return "about", map[string]any{"name": "release pointers", "version": "1.0.0", "verbs": []string{"about", "plan", "observe", "apply", "changes", "collect"}}, nil
	}
	write, err := rights(dir, token)
	if err != nil {
		return "", nil, err
	}
	p := pointer{path: filepath.Join(dir, filepath.Base(q.Path)+".json"), service: q.Path}
	switch q.Verb {
	case "plan":
		value, err := p.plan(q, write)
		return "plan", value, err
	case "observe":
		r, err := p.read()
		if err != nil {
			return "", nil, err
		}
		return "observation", map[string]any{"state": r.last().state(), "settled": r.Deploying == "", "detail": r.last().detail()}, nil
	case "apply":
		if !write {
			return "", nil, refusal{"denied", "the token may not write"}
		}
		value, err := p.apply(q)
		return "receipt", value, err
	case "changes":
		value, err := p.changes(q)
		return "changes", value, err
	case "collect":
		value, err := p.collect(q)
		return "evidence", value, err
	}
	return "", nil, refusal{"invalid", "the verb is not known"}
}

// rights reports whether a token may write; one that is not listed may nothing.
func rights(dir, token string) (write bool, err error) {
	content, err := os.ReadFile(filepath.Join(dir, "access.json"))
	if err != nil {
		return false, err
	}
	var access map[string]string
	if err := json.Unmarshal(content, &access); err != nil {
		return false, err
	}
	switch access[digest([]byte(token))] {
	case "write":
		return true, nil
	case "read":
		return false, nil
	}
	return false, refusal{"denied", "the token is not known"}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pointer is the file of one service.
type pointer struct{ path, service string }

// releases is what the file holds. The last release is the one that runs.
type releases struct {
	// Keep is how many releases are kept.
	Keep int `json:"keep"`
	// Deploying names the deploy that is under way.
	Deploying string    `json:"deploying,omitempty"`
	Releases  []release `json:"releases"`
}

// release is one revision of the pointer.
type release struct {
	Revision int    `json:"revision"`
	Version  string `json:"version"`
	// Settings are handed to the service with the release. They may be secret.
	Settings string    `json:"settings,omitempty"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	// Key is that of the rollback which wrote it.
	Key string `json:"key,omitempty"`
	// Recalled says that it must never run again, once it has been left.
	Recalled bool `json:"recalled,omitempty"`
}

// version is what may be shown of a version that somebody typed.
var version = regexp.MustCompile(`^v[0-9]{1,6}(\.[0-9]{1,6}){0,2}$`)

func (r release) digest() string { return digest([]byte(r.Version + "\x00" + r.Settings)) }

func (r release) label() string {
	if version.MatchString(r.Version) {
		return r.Version
	}
	return fmt.Sprintf("revision %d", r.Revision)
}

func (r release) state() state {
	return state{Revision: fmt.Sprint(r.Revision), Digest: r.digest(), Label: r.label()}
}

func (r release) detail() string {
	return fmt.Sprintf("%s was released at %s by %s", r.label(), r.At.UTC().Format(time.RFC3339), r.By)
}

func (r releases) last() release { return r.Releases[len(r.Releases)-1] }

// find is the latest release that a condition holds for.
func (r releases) find(holds func(release) bool) (release, bool) {
	for _, e := range slices.Backward(r.Releases) {
		if holds(e) {
			return e, true
		}
	}
	return release{}, false
}

// read reads the file. One that is missing, or empty, is not found.
func (p pointer) read() (releases, error) {
	content, err := os.ReadFile(p.path)
	if errors.Is(err, os.ErrNotExist) || filepath.Base(p.service) != p.service {
		return releases{}, refusal{"not_found", "the service has no release pointer"}
	}
	if err != nil {
		return releases{}, err
	}
	var r releases
	if err := json.Unmarshal(content, &r); err != nil {
		return releases{}, err
	}
	if len(r.Releases) == 0 {
		return releases{}, refusal{"not_found", "the service was never released"}
	}
	return r, nil
}

// plan works out where to go and what stands in the way.
func (p pointer) plan(q question, write bool) (any, error) {
	var checks []check
	add := func(result, name, format string, args ...any) {
		checks = append(checks, check{Name: name, Result: result, Reason: fmt.Sprintf(format, args...)})
	}
	blocked := func() (any, error) { return map[string]any{"checks": checks}, nil }
	r, err := p.read()
	var refused refusal
	if errors.As(err, &refused) && refused.Code == "not_found" {
		add("blocked", "service exists", "The service %s has no release pointer.", filepath.Base(p.service))
		return blocked()
	}
	if err != nil {
		return nil, err
	}
	present := r.last()
	add("ok", "service exists", "The service runs %s.", present.label())
	if r.Deploying != "" {
		add("blocked", "no deploy in flight", "A deploy of the service is in flight.")
		return blocked()
	}
	add("ok", "no deploy in flight", "No deploy of the service is in flight.")
	if !write {
		add("blocked", "permission", "The token may not write release pointers.")
		return blocked()
	}
	add("ok", "permission", "The token may write release pointers.")
	wanted, ok := release{}, false
	if q.Plan.Revision != "" {
		if wanted, ok = r.find(func(e release) bool { return fmt.Sprint(e.Revision) == q.Plan.Revision }); !ok {
			add("blocked", "revision exists", "The wanted revision is not among the %d releases that are kept.", len(r.Releases))
			return blocked()
		}
	} else if wanted, ok = r.find(func(e release) bool { return e.At.Before(q.Plan.Before) }); !ok {
		add("blocked", "revision exists", "The releases that are kept do not reach back before %s.", q.Plan.Before.UTC().Format(time.RFC3339))
		return blocked()
	}
	if wanted.Recalled {
		add("blocked", "revision exists", "Revision %d was recalled.", wanted.Revision)
		return blocked()
	}
	if wanted.digest() == present.digest() {
		add("blocked", "not there already", "The service runs %s already.", wanted.label())
		return blocked()
	}
	add("ok", "revision exists", "Revision %d is kept.", wanted.Revision)
	return map[string]any{
		"from": present.state(), "to": wanted.state(), "reversible": r.Keep > 1 && !present.Recalled, "expected_seconds": 1,
		"wont_revert": []string{"what the release did while it ran"}, "checks": checks,
	}, nil
}

// apply writes the wanted release again, under the lock, if the service is still
// at "from".
func (p pointer) apply(q question) (any, error) {
	receipt := func(result string, at release, detail string) (any, error) {
		return map[string]any{"result": result, "state": at.state(), "detail": detail}, nil
	}
	if _, err := p.read(); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(p.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }() // The lock goes with it.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, refusal{"unavailable", "somebody else holds the lock"}
	}
	r, err := p.read()
	if err != nil {
		return nil, err
	}
	present := r.last()
	switch present.digest() {
	case q.Action.To.Digest:
		return receipt("already", present, "the service ran that release already")
	case q.Action.From.Digest:
	default:
		return receipt("drift", present, present.detail())
	}
	if _, done := r.find(func(e release) bool { return e.Key == q.Action.Key }); done && q.Action.Key != "" {
		return receipt("drift", present, "somebody changed it back after this very action: "+present.detail())
	}
	wanted, ok := r.find(func(e release) bool { return e.digest() == q.Action.To.Digest && !e.Recalled })
	if !ok {
		return nil, refusal{"not_found", "the wanted release is not kept any more, or was recalled"}
	}
	wanted.Revision, wanted.At, wanted.By, wanted.Key = present.Revision+1, time.Now().UTC(), "backout", q.Action.Key
	r.Releases = append(r.Releases, wanted)
	r.Releases = r.Releases[max(0, len(r.Releases)-r.Keep):]
	if err := p.replace(r); err != nil {
		return nil, err
	}
	return receipt("applied", wanted, fmt.Sprintf("%s released again as revision %d", wanted.label(), wanted.Revision))
}

// replace renames a new file over the old one. Killed before the rename, it has
// changed nothing.
func (p pointer) replace(r releases) error {
	var content bytes.Buffer
	if err := json.NewEncoder(&content).Encode(r); err != nil {
		return err
	}
	next := p.path + ".next"
	file, err := os.OpenFile(next, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(content.Bytes()); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(next, p.path)
}

// collect shows the releases up to the end of the window, and the file itself where the
// setting "raw" is "yes".
func (p pointer) collect(q question) (any, error) {
	r, err := p.read()
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "service %s\n", p.service)
	for _, e := range r.Releases {
		if !e.At.After(q.Window.Until) {
			fmt.Fprintf(&text, "%s\n", e.detail())
		}
	}
	docs := []map[string]any{{"name": "releases", "media_type": "text/plain", "text": text.String()}}
	if q.Params["raw"] == "yes" {
		content, err := os.ReadFile(p.path)
		if err != nil {
			return nil, err
		}
		docs = append(docs, map[string]any{"name": "pointer", "media_type": "application/json", "base64": base64.StdEncoding.EncodeToString(content)})
	}
	return docs, nil
}

// changes lists the releases in a window of time.
func (p pointer) changes(q question) (any, error) {
	r, err := p.read()
	if err != nil {
		return nil, err
	}
	changes := []map[string]any{}
	for n, e := range r.Releases {
		if e.At.Before(q.Window.Since) || e.At.After(q.Window.Until) {
			continue
		}
		change := map[string]any{"id": fmt.Sprint(e.Revision), "at": e.At.UTC(), "author": e.By, "to": e.label(), "summary": e.label() + " released"}
		if n > 0 {
			change["from"] = r.Releases[n-1].label()
		}
		changes = append(changes, change)
	}
	return changes, nil
}
