package launchdarkly

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// targetForm shows how a target's path is spelled.
const targetForm = "<project>/<flag>/<environment>"

const (
	// maxLabel is the longest label of a state, in runes.
	maxLabel = 63
	// maxDifferences is how many differences of two states are named.
	maxDifferences = 6
	// wholeWeight is the weight of all variations of a rollout together: thousandths
	// of a percent.
	// Source: https://launchdarkly.com/docs/api/feature-flags
	wholeWeight = 100_000
)

// plainKey is what projects, environments and flags are called.
// Source: https://launchdarkly.com/docs/home/flags/create
var plainKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,255}$`)

// location names one flag in one environment absolutely.
type location struct{ project, flag, environment string }

func parseTarget(target incident.Target) (location, error) {
	parts := strings.Split(target.Path, "/")
	if len(parts) != 3 {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	for _, part := range parts {
		if !plainKey.MatchString(part) {
			return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
		}
	}
	return location{project: parts[0], flag: parts[1], environment: parts[2]}, nil
}

func (l location) path() string { return "/api/v2/flags/" + l.project + "/" + l.flag }

// resource is the location as LaunchDarkly's roles and audit log spell it.
// Source: https://launchdarkly.com/docs/home/account/roles/role-resources
func (l location) resource() string {
	return "proj/" + l.project + ":env/" + l.environment + ":flag/" + l.flag
}

// lists and values are the fields of a configuration that are its state. What else
// it has is derived, or has nothing to do with what is served.
var (
	lists  = []string{"prerequisites", "targets", "contextTargets", "rules"}
	values = []string{"on", "fallthrough", "offVariation", "trackEvents", "trackEventsFallthrough"}
)

// config is the configuration of a flag in one environment, as the API has it.
type config map[string]any

// version is what LaunchDarkly counts; 0 when there is none.
func (c config) version() int64 { return whole(c["version"]) }

func whole(v any) int64 {
	number, ok := v.(json.Number)
	if !ok {
		return 0
	}
	n, err := number.Int64()
	if err != nil {
		return 0
	}
	return n
}

// essence is the state within the configuration: without IDs, which are new when a
// rule is made again, and with lists that are never null.
func (c config) essence() map[string]any {
	said := map[string]any{}
	for _, field := range lists {
		list, _ := c[field].([]any)
		said[field] = bare(orEmpty(list))
	}
	for _, field := range values {
		if value := c[field]; value != nil {
			said[field] = bare(value)
		}
	}
	return said
}

func orEmpty(list []any) []any {
	if list == nil {
		return []any{}
	}
	return list
}

// bare is a value without what LaunchDarkly itself fills in.
func bare(value any) any {
	switch value := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, v := range value {
			if strings.HasPrefix(key, "_") || key == "ref" || v == nil {
				continue
			}
			kept[key] = bare(v)
		}
		return kept
	case []any:
		kept := make([]any, 0, len(value))
		for _, v := range value {
			kept = append(kept, bare(v))
		}
		return kept
	default:
		return value
	}
}

// digest is taken over the essence as JSON with sorted keys and no space.
func (c config) digest() (string, error) {
	canonical, err := json.Marshal(c.essence())
	if err != nil {
		return "", fmt.Errorf("encode configuration: %w", err)
	}
	return incident.DigestOf(canonical), nil
}

// state is the configuration as a state.
func (c config) state() (incident.State, error) {
	digest, err := c.digest()
	if err != nil {
		return incident.State{}, err
	}
	return incident.State{Revision: strconv.FormatInt(c.version(), 10), Digest: digest, Label: c.label()}, nil
}

// label is what people call the state.
func (c config) label() string {
	if on, _ := c["on"].(bool); !on {
		return "off"
	}
	label := "on: " + served(c["fallthrough"])
	if rules, _ := c["rules"].([]any); len(rules) > 0 {
		label += fmt.Sprintf(", %d rules", len(rules))
	}
	return oneLine(label, maxLabel)
}

// name is what people call the state within a sentence.
func (c config) name() string { return fmt.Sprintf("version %d (%s)", c.version(), c.label()) }

// served says which variations are served, by their numbers, and their shares.
func served(rule any) string {
	fields, _ := rule.(map[string]any)
	if variation, ok := fields["variation"].(json.Number); ok {
		return "variation " + variation.String()
	}
	rollout, _ := fields["rollout"].(map[string]any)
	weights, _ := rollout["variations"].([]any)
	var shares []string
	for _, weight := range weights {
		fields, _ := weight.(map[string]any)
		share := float64(whole(fields["weight"])) * 100 / wholeWeight
		shares = append(shares, fmt.Sprintf("%d %s%%", whole(fields["variation"]), strconv.FormatFloat(share, 'f', -1, 64)))
	}
	if len(shares) == 0 {
		return "nothing by default"
	}
	return "variations " + strings.Join(shares, ", ")
}

// difference says in one line where two states differ. It tells switches, numbers of
// variations and shares, and never what a target or a rule says.
func difference(from, to config) string {
	a, b := from.essence(), to.essence()
	var found []string
	for _, field := range values {
		if equal(a[field], b[field]) {
			continue
		}
		switch field {
		case "on":
			found = append(found, map[bool]string{true: "turned on", false: "turned off"}[b[field] == true])
		case "fallthrough":
			found = append(found, "default changed: "+served(a[field])+" to "+served(b[field]))
		case "offVariation":
			found = append(found, fmt.Sprintf("off variation changed: %v to %v", a[field], b[field]))
		default:
			found = append(found, field+" changed")
		}
	}
	for _, field := range lists {
		before, _ := a[field].([]any)
		after, _ := b[field].([]any)
		switch {
		case equal(before, after):
		case len(before) != len(after):
			found = append(found, fmt.Sprintf("%s changed: %d to %d", field, len(before), len(after)))
		default:
			found = append(found, field+" changed")
		}
	}
	switch {
	case len(found) == 0:
		return "nothing that is told changed"
	case len(found) > maxDifferences:
		found = append(found[:maxDifferences], fmt.Sprintf("and %d more", len(found)-maxDifferences))
	}
	return strings.Join(found, "; ")
}

// equal compares values by what they are as JSON.
func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// operation is one step of a JSON Patch.
// Source: https://www.rfc-editor.org/rfc/rfc6902
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitzero"`
}

// replaceBy returns the operations that make wanted of exactly this version. What
// stays the same is left alone, so that it keeps its IDs.
func (c config) replaceBy(at location, wanted config) []operation {
	root := "/environments/" + at.environment + "/"
	steps := []operation{{Op: "test", Path: root + "version", Value: c["version"]}}
	have, want := c.essence(), wanted.essence()
	steps = append(steps, members(root, pick(have, values), pick(want, values))...)
	for _, field := range lists {
		before, _ := have[field].([]any)
		after, _ := want[field].([]any)
		path := root + field + "/"
		for n := range min(len(before), len(after)) {
			if equal(before[n], after[n]) {
				continue
			}
			place := path + strconv.Itoa(n)
			old, isMap := before[n].(map[string]any)
			next, stays := after[n].(map[string]any)
			if field == "rules" && isMap && stays {
				steps = append(steps, members(place+"/", old, next)...)
				continue
			}
			steps = append(steps, operation{Op: "replace", Path: place, Value: after[n]})
		}
		for n := len(before) - 1; n >= len(after); n-- {
			steps = append(steps, operation{Op: "remove", Path: path + strconv.Itoa(n)})
		}
		for n := len(before); n < len(after); n++ {
			steps = append(steps, operation{Op: "add", Path: path + "-", Value: after[n]})
		}
	}
	return steps
}

func pick(from map[string]any, fields []string) map[string]any {
	picked := map[string]any{}
	for _, field := range fields {
		if value, ok := from[field]; ok {
			picked[field] = value
		}
	}
	return picked
}

// members returns the operations that make one object of another.
func members(root string, have, want map[string]any) []operation {
	var steps []operation
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if _, stays := want[key]; !stays {
			steps = append(steps, operation{Op: "remove", Path: root + key})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		before, there := have[key]
		switch {
		case !there:
			steps = append(steps, operation{Op: "add", Path: root + key, Value: want[key]})
		case !equal(before, want[key]):
			steps = append(steps, operation{Op: "replace", Path: root + key, Value: want[key]})
		}
	}
	return steps
}

// errNoEnvironment means that the flag is there and the environment is not.
var errNoEnvironment = errors.New("the flag has no such environment")

// flag is a flag with its configuration in one environment.
type flag struct {
	config
	archived bool
	// values are what the variations serve, in their order, which is what
	// configurations refer to.
	values []any
	tags   []string
	// created is when the flag was made, in milliseconds.
	created int64
}

// document is a flag as the API and the audit log have it.
type document struct {
	Archived   bool              `json:"archived"`
	Created    json.Number       `json:"creationDate"`
	Tags       []string          `json:"tags"`
	Variations []variation       `json:"variations"`
	Configs    map[string]config `json:"environments"`
}

type variation struct {
	Value any `json:"value"`
}

// in is the flag in one environment.
func (d document) in(at location) (flag, error) {
	found, ok := d.Configs[at.environment]
	if !ok {
		return flag{}, errNoEnvironment
	}
	f := flag{config: found, archived: d.Archived, tags: d.Tags, created: whole(d.Created)}
	for _, v := range d.Variations {
		f.values = append(f.values, v.Value)
	}
	return f, nil
}

// flag reads a flag as it is now.
func (c *connection) flag(ctx context.Context, at location) (flag, error) {
	var answer document
	if err := c.call(ctx, http.MethodGet, "read flag "+at.flag, at.path(), url.Values{"env": {at.environment}}, nil, &answer); err != nil {
		return flag{}, err
	}
	f, err := answer.in(at)
	switch {
	case err != nil:
		return flag{}, fmt.Errorf("read flag %s: %w: %w", at.flag, driver.ErrNotFound, err)
	case f.version() == 0:
		return flag{}, fmt.Errorf("read flag %s: decode answer: the configuration has no version", at.flag)
	}
	return f, nil
}

// write patches a flag with a comment and returns it as it is then. With try
// LaunchDarkly does all but keep the result.
func (c *connection) write(ctx context.Context, at location, patch []operation, comment string, try bool) (flag, error) {
	var query url.Values
	if try {
		query = url.Values{"dryRun": {"true"}}
	}
	body := struct {
		Comment string      `json:"comment"`
		Patch   []operation `json:"patch"`
	}{comment, patch}
	var answer document
	if err := c.call(ctx, http.MethodPatch, "change flag "+at.flag, at.path(), query, body, &answer); err != nil {
		return flag{}, err
	}
	return answer.in(at)
}
