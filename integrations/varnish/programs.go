package varnish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// targetForm shows how a target's path is spelled.
const targetForm = "active or label/<label>, and /ban/<name> behind it to ban what was cached meanwhile"

// active is the path of the VCL that serves whatever no label does.
const active = "active"

// bootName is what Varnish calls the VCL that it started with.
const bootName = "boot"

// namePattern is what names of VCLs and labels may look like.
// Source: https://varnish-cache.org/docs/7.1/reference/varnish-cli.html
var namePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,126}$`)

// location names a target absolutely.
type location struct {
	// label is empty for the active VCL.
	label string
	// ban is the name of the ban that goes with a switch; empty for none.
	ban string
}

func parseTarget(target incident.Target) (location, error) {
	at, err := parsePath(target.Path)
	if err != nil {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	return at, nil
}

func parsePath(path string) (location, error) {
	place, ban, banned := strings.Cut(path, "/ban/")
	label, labelled := strings.CutPrefix(place, "label/")
	switch {
	case banned && !namePattern.MatchString(ban), labelled && !namePattern.MatchString(label), !labelled && place != active:
		return location{}, errors.New("malformed path")
	case !labelled:
		label = ""
	}
	return location{label: label, ban: ban}, nil
}

// place is the path without the ban.
func (l location) place() string {
	if l.label == "" {
		return active
	}
	return "label/" + l.label
}

// words is the target within a sentence.
func (l location) words() string {
	if l.label == "" {
		return "active VCL"
	}
	return "label " + l.label
}

// program is one loaded VCL, or a label.
type program struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	// State is "auto", "cold", "warm" or, for a label, "label".
	State string `json:"state"`
	Label struct {
		Name string `json:"name"`
	} `json:"label"`
}

// The words of program.
const (
	statusActive    = "active"
	statusDiscarded = "discarded"
	stateLabel      = "label"
	stateCold       = "cold"
)

// programs is the list of VCLs, in the order in which they were loaded.
type programs []program

const listCommand = "vcl.list -j"

// parsePrograms reads an answer to listCommand: a JSON array of the version of its
// form, the command, the time, and the VCLs.
func parsePrograms(a answer) (programs, error) {
	if err := a.problem(); err != nil {
		return nil, err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(a.text), &parts); err != nil || len(parts) < 3 || string(parts[0]) != "2" {
		return nil, errors.New("read the list of VCLs: it has another form than expected")
	}
	var list programs
	for _, part := range parts[3:] {
		var p program
		if err := json.Unmarshal(part, &p); err != nil || !namePattern.MatchString(p.Name) {
			return nil, errors.New("read the list of VCLs: it has another form than expected")
		}
		if p.Status != statusDiscarded {
			list = append(list, p)
		}
	}
	return list, nil
}

// find returns the VCL or label of a name.
func (l programs) find(name string) (program, bool) {
	n := slices.IndexFunc(l, func(p program) bool { return p.Name == name })
	if n < 0 {
		return program{}, false
	}
	return l[n], true
}

// pointed is the name of the VCL that a target points to. For an active label it is
// the label's own name, which is what Varnish was told to use.
func (l programs) pointed(at location) (name string, ok bool) {
	for _, p := range l {
		switch {
		case at.label == "" && p.Status == statusActive:
			return p.Name, true
		case at.label != "" && p.Name == at.label && p.State == stateLabel:
			return p.Label.Name, true
		}
	}
	return "", false
}

// list reads the VCLs.
func (c *connection) list(ctx context.Context) (programs, error) {
	answers, err := c.ask(ctx, listCommand)
	if err != nil {
		return nil, err
	}
	return parsePrograms(answers[0])
}

// version is what a target points to, with its source.
type version struct {
	name string
	// behind is the VCL that an active label points to; empty for a VCL.
	behind string
	// source is the digest of all that Varnish shows of the VCL, the files that it
	// includes among it.
	source string
	// ban is the expression that goes with the switch to it.
	ban string
}

// digest is taken over names and source: the same source that is loaded twice may
// have resolved its backends to other addresses.
func (v version) digest() string {
	return incident.DigestOf([]byte(strings.Join([]string{"varnish", v.name, v.behind, v.source, v.ban}, "\x00")))
}

func (v version) state() incident.State {
	return incident.State{Revision: v.name, Digest: v.digest(), Label: v.name}
}

// words is the version within a sentence.
func (v version) words() string {
	if v.behind != "" {
		return v.name + ", a label of " + v.behind
	}
	return v.name
}

// showCommand is the command for the source of a VCL.
func showCommand(name string) string { return "vcl.show -v " + name }

// version reads the source of a VCL of a list.
func (c *connection) version(ctx context.Context, at location, list programs, name string) (version, error) {
	answers, err := c.ask(ctx, showCommand(name))
	if err != nil {
		return version{}, err
	}
	return c.shown(at, list, name, answers[0])
}

// shown is a VCL of a list with the answer to showCommand.
func (c *connection) shown(at location, list programs, name string, a answer) (version, error) {
	if err := a.problem(); err != nil {
		return version{}, fmt.Errorf("read VCL %q: %w", name, err)
	}
	p, ok := list.find(name)
	if !ok {
		return version{}, fmt.Errorf("read VCL %q: %w: Varnish has no such VCL", name, driver.ErrNotFound)
	}
	v := version{name: name, behind: p.Label.Name, source: incident.DigestOf([]byte(a.text))}
	if at.ban != "" {
		expression, ok := c.settings.ban(at.ban)
		if !ok {
			return version{}, fmt.Errorf("find ban %q: %w: the settings have none of that name", at.ban, driver.ErrInvalid)
		}
		v.ban = expression
	}
	return v, nil
}

// present reads what a target points to now. It returns driver.ErrNotFound when there
// is no such label.
func (c *connection) present(ctx context.Context, at location) (version, programs, error) {
	list, err := c.list(ctx)
	if err != nil {
		return version{}, nil, err
	}
	name, ok := list.pointed(at)
	if !ok {
		return version{}, list, fmt.Errorf("%w: Varnish has no %s", driver.ErrNotFound, at.words())
	}
	v, err := c.version(ctx, at, list, name)
	return v, list, err
}

// dated is a VCL whose name tells when it was loaded.
type dated struct {
	name string
	at   time.Time
	// boot is set for what Varnish started with, at an unknown time before all
	// others.
	boot bool
}

// dated lists the VCLs of a target, in the order in which they were loaded.
func (c *connection) dated(at location, list programs) []dated {
	layout := c.settings.layout(at)
	var found []dated
	for _, p := range list {
		switch {
		case p.State == stateLabel:
		case p.Name == bootName && at.label == "":
			found = append(found, dated{name: p.Name, boot: true})
		case layout != "" && len(p.Name) >= len(layout):
			if moment, err := time.Parse(layout, p.Name[:len(layout)]); err == nil {
				found = append(found, dated{name: p.Name, at: moment})
			}
		}
	}
	return found
}
