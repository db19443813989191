package unleash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
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
)

// plainName is what projects, flags and environments are called: characters that
// need no escape in a URL.
// Source: https://docs.getunleash.io/reference/feature-toggles
var plainName = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,100}$`)

// location names one flag in one environment absolutely.
type location struct{ project, flag, environment string }

func parseTarget(target incident.Target) (location, error) {
	parts := strings.Split(target.Path, "/")
	if len(parts) != 3 {
		return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
	}
	for _, part := range parts {
		if !plainName.MatchString(part) || part == "." || part == ".." {
			return location{}, fmt.Errorf("parse target %q: %w: want %s", target, driver.ErrInvalid, targetForm)
		}
	}
	return location{project: parts[0], flag: parts[1], environment: parts[2]}, nil
}

func (l location) feature() string { return "/projects/" + l.project + "/features/" + l.flag }
func (l location) inside() string  { return l.feature() + "/environments/" + l.environment }

// strategy is one activation strategy, as the API has it.
type strategy struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Title       string         `json:"title"`
	Disabled    bool           `json:"disabled"`
	Constraints []any          `json:"constraints"`
	Parameters  map[string]any `json:"parameters"`
	Variants    []any          `json:"variants"`
	Segments    []int64        `json:"segments"`
	SortOrder   int64          `json:"sortOrder"`
	Milestone   string         `json:"milestoneId"`
}

// body is what a strategy says, without its ID and its place: both are new when it
// is made again.
func (s strategy) body() map[string]any {
	segments := slices.Sorted(slices.Values(s.Segments))
	return map[string]any{
		"name": s.Name, "title": s.Title, "disabled": s.Disabled,
		"constraints": orEmpty(s.Constraints), "parameters": orEmptyMap(s.Parameters), "variants": orEmpty(s.Variants), "segments": orEmpty(segments),
	}
}

// same reports whether two strategies say the same.
func (s strategy) same(other strategy) bool { return equal(s.body(), other.body()) }

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func orEmptyMap(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// content is the state of a flag in one environment.
type content struct {
	enabled    bool
	strategies []strategy // In their order.
	variants   []any      // Of the flag itself, which newer servers have no more.
}

func (c content) clone() content {
	c.strategies = slices.Clone(c.strategies)
	return c
}

// sort puts the strategies into the order of their places.
func (c *content) sort() {
	slices.SortStableFunc(c.strategies, func(a, b strategy) int { return int(a.SortOrder - b.SortOrder) })
}

func (c content) find(id string) int {
	return slices.IndexFunc(c.strategies, func(s strategy) bool { return s.ID == id })
}

// active reports whether any strategy is not disabled. Without one the server turns
// a flag off.
func (c content) active() bool {
	return slices.ContainsFunc(c.strategies, func(s strategy) bool { return !s.Disabled })
}

// unsorted is the content with its strategies in an order that depends on what they
// say alone: where two have one place, the server sorts them as it likes.
func (c content) unsorted() content {
	c = c.clone()
	slices.SortStableFunc(c.strategies, func(a, b strategy) int { return strings.Compare(a.text(), b.text()) })
	return c
}

// text is what a strategy says, as JSON.
func (s strategy) text() string {
	said, err := json.Marshal(s.body())
	if err != nil {
		return "" // It came as JSON.
	}
	return string(said)
}

// digest is taken over JSON with sorted keys and no space.
func (c content) digest() (string, error) {
	bodies := make([]map[string]any, 0, len(c.strategies))
	for _, s := range c.strategies {
		bodies = append(bodies, s.body())
	}
	canonical, err := json.Marshal(map[string]any{"enabled": c.enabled, "strategies": bodies, "variants": orEmpty(c.variants)})
	if err != nil {
		return "", fmt.Errorf("encode flag: %w", err)
	}
	return incident.DigestOf(canonical), nil
}

// label is what people call the state.
func (c content) label() string {
	if !c.enabled {
		return "off"
	}
	names := make([]string, 0, len(c.strategies))
	for _, s := range c.strategies {
		if !s.Disabled {
			names = append(names, s.title())
		}
	}
	return oneLine("on: "+strings.Join(names, ", "), maxLabel)
}

// percentage is what the share of a rollout looks like.
var percentage = regexp.MustCompile(`^[0-9]{1,3}$`)

// rollout is the share of a gradual rollout; empty where there is none.
func (s strategy) rollout() string {
	if share := fmt.Sprint(s.Parameters["rollout"]); percentage.MatchString(share) {
		return share + "%"
	}
	return ""
}

// title is what people call the strategy: its kind, and its share.
func (s strategy) title() string {
	return strings.TrimSpace(oneLine(s.Name, maxLabel) + " " + s.rollout())
}

// difference says in one line where two states differ. It tells switches and
// shares, and never what a constraint, a parameter or a variant says.
func difference(from, to content) string {
	var found []string
	if from.enabled != to.enabled {
		found = append(found, map[bool]string{true: "turned on", false: "turned off"}[to.enabled])
	}
	pairs := pair(from, to)
	for w, c := range pairs {
		switch after := to.strategies[w]; {
		case c < 0:
			found = append(found, "strategy "+after.title()+" added")
		case !after.same(from.strategies[c]):
			found = append(found, "strategy "+oneLine(after.Name, maxLabel)+" changed: "+changes(from.strategies[c], after))
		}
	}
	for c, before := range from.strategies {
		if !slices.Contains(pairs, c) {
			found = append(found, "strategy "+before.title()+" removed")
		}
	}
	if a, b := fmt.Sprint(orEmpty(from.variants)), fmt.Sprint(orEmpty(to.variants)); a != b {
		found = append(found, "variants changed")
	}
	switch {
	case len(found) == 0 && !slices.IsSorted(pairs):
		return "strategies sorted anew"
	case len(found) == 0:
		return "nothing that is told changed"
	case len(found) > maxDifferences:
		found = append(found[:maxDifferences], fmt.Sprintf("and %d more", len(found)-maxDifferences))
	}
	return strings.Join(found, "; ")
}

// changes names the fields in which two strategies differ.
func changes(from, to strategy) string {
	var found []string
	if a, b := from.rollout(), to.rollout(); a != b {
		found = append(found, "rollout "+a+" to "+b)
	}
	if from.Disabled != to.Disabled {
		found = append(found, map[bool]string{true: "disabled", false: "enabled"}[to.Disabled])
	}
	a, b := from.body(), to.body()
	for _, field := range []string{"name", "title", "constraints", "parameters", "variants", "segments"} {
		if field == "parameters" && len(found) > 0 && from.rollout() != to.rollout() {
			continue // Said already.
		}
		if !equal(a[field], b[field]) {
			found = append(found, field)
		}
	}
	return strings.Join(found, ", ")
}

// equal compares values by what they are as JSON.
func equal(a, b any) bool {
	if reflect.DeepEqual(a, b) {
		return true
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// pair says for each strategy of to which one of from it is, by its index; -1 for
// none. It goes by ID, then by what a strategy says, then by its kind.
func pair(from, to content) []int {
	pairs := make([]int, len(to.strategies))
	taken := make([]bool, len(from.strategies))
	for w := range pairs {
		pairs[w] = -1
	}
	for _, match := range []func(a, b strategy) bool{
		func(a, b strategy) bool { return a.ID != "" && a.ID == b.ID },
		func(a, b strategy) bool { return a.same(b) },
		func(a, b strategy) bool { return a.Name == b.Name },
	} {
		for w := range pairs {
			for c := range from.strategies {
				if pairs[w] < 0 && !taken[c] && match(from.strategies[c], to.strategies[w]) {
					pairs[w], taken[c] = c, true
				}
			}
		}
	}
	return pairs
}

// errNoEnvironment means that the flag is there and the environment is not.
var errNoEnvironment = errors.New("the flag has no such environment")

// present is a flag in one environment, as it is now.
type present struct {
	content
	// others are the other environments of the flag.
	others []string
	// plan says that a release plan keeps the strategies.
	plan bool
	// stale says that people marked the flag as no longer of use.
	stale bool
}

// flag reads a flag as it is now. A flag that is archived is not found.
func (c *connection) flag(ctx context.Context, at location) (present, error) {
	var answer struct {
		Archived     bool `json:"archived"`
		Stale        bool `json:"stale"`
		Environments []struct {
			Name       string            `json:"name"`
			Enabled    bool              `json:"enabled"`
			Strategies []strategy        `json:"strategies"`
			Variants   []any             `json:"variants"`
			Plans      []json.RawMessage `json:"releasePlans"`
		} `json:"environments"`
	}
	query := url.Values{"variantEnvironments": {"true"}}
	if err := c.call(ctx, http.MethodGet, "read flag "+at.flag, at.feature(), query, nil, &answer); err != nil {
		return present{}, err
	}
	found := present{stale: answer.Stale}
	there := false
	for _, environment := range answer.Environments {
		if environment.Name != at.environment {
			found.others = append(found.others, oneLine(environment.Name, maxLabel))
			continue
		}
		there = true
		found.content = content{enabled: environment.Enabled, strategies: environment.Strategies, variants: environment.Variants}
		found.plan = len(environment.Plans) > 0 || slices.ContainsFunc(environment.Strategies, func(s strategy) bool { return s.Milestone != "" })
	}
	switch {
	case answer.Archived:
		return present{}, fmt.Errorf("read flag %s: %w: it is archived", at.flag, driver.ErrNotFound)
	case !there:
		return present{}, fmt.Errorf("read flag %s: %w: %w", at.flag, driver.ErrNotFound, errNoEnvironment)
	}
	found.sort()
	slices.Sort(found.others)
	return found, nil
}
