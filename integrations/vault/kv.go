package vault

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kvKind is the name of the inverse, and of the change source and the collector
// beside it.
const kvKind = "vault.kv"

// kvForm shows how a target's path is spelled.
const kvForm = "<mount>/<path>"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kvKind,
		System:     systemType,
		Layer:      "security",
		TargetForm: kvForm,
		Reversible: true,
		OneWay:     "a secret whose newest version is deleted, or of which one version is kept",
		WontRevert: kvWontRevert,
		Permission: `path "<mount>/data/<path>" { capabilities = ["read", "update"] } path "<mount>/metadata/<path>" { capabilities = ["read"] }`,
	}, func(c *connection) driver.Inverse { return secrets{c} })
}

// kvWontRevert lists what stays as it is.
var kvWontRevert = []string{
	"the copies of the secret that services hold until they read it again",
	"the credential itself, in whatever system takes it: only what Vault hands out is changed",
	"custom metadata of the secret, and its other versions",
	"what was read or written by whoever has seen the other version",
}

// location names one secret absolutely.
type location struct{ mount, path string }

func parseSecret(target incident.Target) (location, error) {
	if !proper(target.Path, 2) {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", printable(target.String()), driver.ErrInvalid, kvForm)
	}
	mount, path, _ := strings.Cut(target.Path, "/")
	return location{mount, path}, nil
}

func (l location) name() string     { return l.mount + "/" + l.path }
func (l location) data() string     { return l.mount + "/data/" + l.path }
func (l location) metadata() string { return l.mount + "/metadata/" + l.path }

// content is one version of a secret.
type content struct {
	version int
	created time.Time
	// data is what it holds, as it was read; nil when it is deleted or destroyed.
	data      json.RawMessage
	deleted   time.Time
	destroyed bool
}

// about is what Vault says of a version.
type about struct {
	Version   int       `json:"version"`
	Created   time.Time `json:"created_time"`
	Deleted   moment    `json:"deletion_time"`
	Destroyed bool      `json:"destroyed"`
}

// moment is a time that may be empty.
type moment struct{ time.Time }

// UnmarshalJSON reads a time, or none.
func (m *moment) UnmarshalJSON(text []byte) error {
	if string(text) == `""` || string(text) == "null" {
		m.Time = time.Time{}
		return nil
	}
	return m.Time.UnmarshalJSON(text)
}

// read reads a version of a secret, 0 for the newest. One that is deleted has no
// data; driver.ErrNotFound means that there is no such secret or no such version.
func (c *connection) read(ctx context.Context, at location, version int) (content, error) {
	query := url.Values{}
	if version > 0 {
		query.Set("version", strconv.Itoa(version))
	}
	var answer struct {
		Data     json.RawMessage `json:"data"`
		Metadata *about          `json:"metadata"`
	}
	err := c.call(ctx, http.MethodGet, at.data(), query, nil, &answer)
	m := answer.Metadata
	switch {
	case errors.Is(err, driver.ErrNotFound) && m != nil:
		return content{version: m.Version, created: m.Created, deleted: m.Deleted.Time, destroyed: m.Destroyed}, nil
	case err != nil:
		return content{}, err
	case m == nil || m.Version == 0:
		return content{}, errors.New("decode answer: the secret has another form than expected")
	}
	return content{version: m.Version, created: m.Created, data: answer.Data}, nil
}

// digest is an HMAC over the canonical form of the data, or over that there is none.
func (c *connection) digest(k content) (string, error) {
	key, err := c.digestKey()
	if err != nil {
		return "", err
	}
	form := []byte("deleted")
	if k.data != nil {
		decoder := json.NewDecoder(bytes.NewReader(k.data))
		decoder.UseNumber()
		var value any
		if decoder.Decode(&value) != nil {
			return "", errors.New("decode answer: the data has another form than expected")
		}
		if form, err = json.Marshal(value); err != nil {
			return "", errors.New("encode data: it has another form than expected")
		}
		form = append([]byte("data\x00"), form...)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(form)
	return "sha256:" + hex.EncodeToString(mac.Sum(nil)), nil
}

func (c *connection) state(k content) (incident.State, error) {
	digest, err := c.digest(k)
	if err != nil {
		return incident.State{}, err
	}
	label := fmt.Sprintf("version %d", k.version)
	if k.data == nil {
		label += " (deleted)"
	}
	return incident.State{Revision: strconv.Itoa(k.version), Digest: digest, Label: label}, nil
}

// detail is one line for people about what was observed.
func (k content) detail() string {
	line := fmt.Sprintf("version %d was written at %s", k.version, k.created.UTC().Format(time.RFC3339))
	if k.data == nil {
		line += " and is deleted"
	}
	return line
}

// secrets takes a secret back to one of its versions.
type secrets struct{ conn *connection }

// Observe reads the newest version. It is settled at once.
func (i secrets) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseSecret(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	present, err := i.conn.read(ctx, at, 0)
	var state incident.State
	if err == nil {
		state, err = i.conn.state(present)
	}
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: state, Settled: true, Detail: present.detail()}, nil
}

// Apply writes the data of action.To as a new version, if the newest is still the one
// that it finds there.
func (i secrets) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	at, err := parseSecret(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i secrets) apply(ctx context.Context, at location, action incident.Action) (driver.Receipt, error) {
	present, done, err := i.compare(ctx, at, action)
	if done || err != nil {
		return driver.Receipt{Detail: "the secret was there already"}, err
	}
	wanted, err := i.wanted(ctx, at, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	request := struct {
		Options struct {
			CAS int `json:"cas"`
		} `json:"options"`
		Data json.RawMessage `json:"data"`
	}{Data: wanted.data}
	request.Options.CAS = present.version
	var written about
	err = i.conn.call(ctx, http.MethodPost, at.data(), nil, request, &written)
	if errors.Is(err, errMoved) {
		// Another writer was faster, with the same data or other.
		if _, done, drift := i.compare(ctx, at, action); done || drift != nil {
			return driver.Receipt{Detail: "another writer wrote the same"}, drift
		}
	}
	if err != nil {
		return driver.Receipt{}, err
	}
	return driver.Receipt{Mutated: true, Detail: fmt.Sprintf("version %d written with the data of version %d", written.Version, wanted.version)}, nil
}

// compare is done when the secret is at "to", and a *driver.DriftError when it is at
// neither.
func (i secrets) compare(ctx context.Context, at location, action incident.Action) (present content, done bool, err error) {
	if present, err = i.conn.read(ctx, at, 0); err != nil {
		return content{}, false, err
	}
	state, err := i.conn.state(present)
	if err != nil {
		return content{}, false, err
	}
	switch state.Digest {
	case action.To.Digest:
		return present, true, nil
	case action.From.Digest:
		return present, false, nil
	}
	return present, false, &driver.DriftError{Action: action, Observed: state, Difference: present.detail()}
}

// wanted reads the data of a state again and checks it.
func (i secrets) wanted(ctx context.Context, at location, state incident.State) (content, error) {
	number, err := strconv.Atoi(state.Revision)
	if err != nil || number <= 0 {
		return content{}, fmt.Errorf("read version %q: %w", printable(state.Revision), driver.ErrInvalid)
	}
	found, ok, err := i.holds(ctx, at, number, state.Digest)
	if ok || err != nil {
		return found, err
	}
	// The same data may have been written again since.
	history, err := i.conn.history(ctx, at)
	if err != nil {
		return content{}, err
	}
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(history.Versions))) {
		if found, ok, err := i.holds(ctx, at, number, state.Digest); ok || err != nil {
			return found, err
		}
	}
	return content{}, fmt.Errorf("find version %d (%s): %w", number, incident.ShortDigest(state.Digest), driver.ErrNotFound)
}

// holds reports whether a version is there and has the data of a digest.
func (i secrets) holds(ctx context.Context, at location, number int, digest string) (content, bool, error) {
	found, err := i.conn.read(ctx, at, number)
	if errors.Is(err, driver.ErrNotFound) {
		return content{}, false, nil
	}
	if err != nil || found.data == nil {
		return content{}, false, err
	}
	has, err := i.conn.digest(found)
	return found, has == digest, err
}

// history is what Vault keeps of a secret's versions.
type history struct {
	Current  int           `json:"current_version"`
	Oldest   int           `json:"oldest_version"`
	Keep     int           `json:"max_versions"`
	Versions map[int]about `json:"versions"`
}

func (c *connection) history(ctx context.Context, at location) (history, error) {
	var h history
	err := c.call(ctx, http.MethodGet, at.metadata(), nil, nil, &h)
	return h, err
}
