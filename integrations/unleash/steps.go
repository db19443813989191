package unleash

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/backout/backout/integrations/driver"
)

// The permissions that steps need.
// Source: https://docs.getunleash.io/reference/rbac#environment-permissions
const (
	mayToggle = "UPDATE_FEATURE_ENVIRONMENT"
	mayAdd    = "CREATE_FEATURE_STRATEGY"
	mayChange = "UPDATE_FEATURE_STRATEGY"
	mayRemove = "DELETE_FEATURE_STRATEGY"
	mayVary   = "UPDATE_FEATURE_ENVIRONMENT_VARIANTS"
)

// takeBack undoes one step.
type takeBack func(ctx context.Context) error

// step is one request of a rollback.
type step struct {
	name       string
	permission string
	// after is the state behind the step.
	after content
	run   func(ctx context.Context, c *connection, at location) (takeBack, error)
}

// route is the steps that lead from one state to another: off first, on last, and
// what lets people in before what keeps them out, so that the flag is never turned
// off by the server half way.
func route(from, to content) []step {
	var steps []step
	state := from.clone()
	add := func(name, permission string, run func(ctx context.Context, c *connection, at location) (takeBack, error)) {
		if !state.active() {
			state.enabled = false // The server's own doing.
		}
		steps = append(steps, step{name: name, permission: permission, after: state.clone(), run: run})
	}
	if state.enabled && !to.enabled {
		state.enabled = false
		add("turn the flag off", mayToggle, toggle(false))
	}
	if before := state.variants; !equal(orEmpty(before), orEmpty(to.variants)) {
		state.variants = to.variants
		add("change the variants", mayVary, vary(before, to.variants))
	}
	pairs := pair(from, to)
	for w, c := range pairs {
		if c < 0 {
			wanted := to.strategies[w]
			wanted.ID = ""
			state.strategies = append(state.strategies, wanted)
			state.sort()
			add("add strategy "+wanted.title(), mayAdd, create(wanted))
		}
	}
	for _, disabled := range []bool{false, true} {
		for w, c := range pairs {
			if c < 0 || from.strategies[c].same(to.strategies[w]) || to.strategies[w].Disabled != disabled {
				continue
			}
			before, after := from.strategies[c], to.strategies[w]
			after.ID, after.SortOrder = before.ID, before.SortOrder
			state.strategies = slices.Clone(state.strategies)
			state.strategies[state.find(before.ID)] = after
			add("change strategy "+after.title(), mayChange, change(before, after))
		}
	}
	for c, before := range from.strategies {
		if !slices.Contains(pairs, c) {
			at := state.find(before.ID)
			state.strategies = slices.Delete(slices.Clone(state.strategies), at, at+1)
			add("remove strategy "+before.title(), mayRemove, remove(before))
		}
	}
	if !inOrder(state, to) {
		state.strategies = slices.Clone(to.strategies)
		add("sort the strategies", mayChange, order(to))
	}
	if !state.enabled && to.enabled {
		state.enabled = true
		add("turn the flag on", mayToggle, toggle(true))
	}
	return steps
}

// inOrder reports whether the strategies stand in the wanted order, with no two at
// one place: the server sorts those as it likes.
func inOrder(state, to content) bool {
	for n, s := range state.strategies {
		if !s.same(to.strategies[n]) || n > 0 && state.strategies[n-1].SortOrder >= s.SortOrder {
			return len(state.strategies) < 2
		}
	}
	return true
}

func toggle(on bool) func(ctx context.Context, c *connection, at location) (takeBack, error) {
	word := map[bool]string{true: "on", false: "off"}
	return func(ctx context.Context, c *connection, at location) (takeBack, error) {
		turn := func(ctx context.Context, on bool) error {
			return c.call(ctx, http.MethodPost, "turn flag "+at.flag+" "+word[on], at.inside()+"/"+word[on], nil, nil, nil)
		}
		return func(ctx context.Context) error { return turn(ctx, !on) }, turn(ctx, on)
	}
}

// vary replaces the flag's own variants, if they are still what was observed.
func vary(before, after []any) func(ctx context.Context, c *connection, at location) (takeBack, error) {
	return func(ctx context.Context, c *connection, at location) (takeBack, error) {
		replace := func(ctx context.Context, before, after []any) error {
			return c.call(ctx, http.MethodPatch, "change variants of flag "+at.flag, at.inside()+"/variants", nil, []operation{
				{Op: "test", Path: "", Value: orEmpty(before)}, {Op: "replace", Path: "", Value: orEmpty(after)},
			}, nil)
		}
		return func(ctx context.Context) error { return replace(ctx, after, before) }, replace(ctx, before, after)
	}
}

// operation is one step of a JSON Patch.
// Source: https://www.rfc-editor.org/rfc/rfc6902
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func create(wanted strategy) func(ctx context.Context, c *connection, at location) (takeBack, error) {
	return func(ctx context.Context, c *connection, at location) (takeBack, error) {
		made, err := c.addStrategy(ctx, at, wanted)
		return func(ctx context.Context) error { return c.removeStrategy(ctx, at, made) }, err
	}
}

func remove(gone strategy) func(ctx context.Context, c *connection, at location) (takeBack, error) {
	return func(ctx context.Context, c *connection, at location) (takeBack, error) {
		// No condition can be sent along: what is removed is read once more, to make
		// the window as narrow as it gets.
		now, _, err := c.strategy(ctx, at, gone.ID)
		switch {
		case errors.Is(err, driver.ErrNotFound) || err == nil && !now.same(gone):
			return nil, errMoved
		case err != nil:
			return nil, err
		}
		return func(ctx context.Context) error {
			_, err := c.addStrategy(ctx, at, gone)
			return err
		}, c.removeStrategy(ctx, at, gone.ID)
	}
}

func (c *connection) addStrategy(ctx context.Context, at location, wanted strategy) (id string, err error) {
	body := wanted.body()
	body["sortOrder"] = wanted.SortOrder
	if wanted.Title == "" {
		delete(body, "title")
	}
	var made struct {
		ID string `json:"id"`
	}
	err = c.call(ctx, http.MethodPost, "add a strategy to flag "+at.flag, at.inside()+"/strategies", nil, body, &made)
	return made.ID, err
}

func (c *connection) removeStrategy(ctx context.Context, at location, id string) error {
	return c.call(ctx, http.MethodDelete, "remove a strategy of flag "+at.flag, at.inside()+"/strategies/"+url.PathEscape(id), nil, nil, nil)
}

// strategy reads one strategy, also as it is tested for.
func (c *connection) strategy(ctx context.Context, at location, id string) (strategy, map[string]any, error) {
	var raw map[string]any
	if err := c.call(ctx, http.MethodGet, "read a strategy of flag "+at.flag, at.inside()+"/strategies/"+url.PathEscape(id), nil, nil, &raw); err != nil {
		return strategy{}, nil, err
	}
	content, err := jsonOf(raw)
	if err != nil {
		return strategy{}, nil, err
	}
	s, err := decodeStrategy(content)
	if err != nil {
		return strategy{}, nil, fmt.Errorf("read a strategy of flag %s: decode answer: it has another form than expected", at.flag)
	}
	return s, raw, nil
}

// change writes one strategy, if all of it is still what was observed.
func change(before, after strategy) func(ctx context.Context, c *connection, at location) (takeBack, error) {
	return func(ctx context.Context, c *connection, at location) (takeBack, error) {
		return func(ctx context.Context) error { return c.changeStrategy(ctx, at, after, before) }, c.changeStrategy(ctx, at, before, after)
	}
}

func (c *connection) changeStrategy(ctx context.Context, at location, before, after strategy) error {
	now, raw, err := c.strategy(ctx, at, before.ID)
	switch {
	case errors.Is(err, driver.ErrNotFound) || err == nil && !now.same(before):
		return errMoved
	case err != nil:
		return err
	}
	var tests, writes []operation
	wanted, had := after.body(), before.body()
	for _, field := range []string{"name", "title", "disabled", "constraints", "parameters", "variants", "segments"} {
		if value, there := raw[field]; there {
			tests = append(tests, operation{Op: "test", Path: "/" + field, Value: value})
		}
		if !equal(had[field], wanted[field]) {
			writes = append(writes, operation{Op: "add", Path: "/" + field, Value: wanted[field]})
		}
	}
	return c.call(ctx, http.MethodPatch, "change a strategy of flag "+at.flag, at.inside()+"/strategies/"+url.PathEscape(before.ID), nil, append(tests, writes...), nil)
}

// place is where a strategy stands.
type place struct {
	ID    string `json:"id"`
	Order int    `json:"sortOrder"`
}

func order(wanted content) func(ctx context.Context, c *connection, at location) (takeBack, error) {
	return func(ctx context.Context, c *connection, at location) (takeBack, error) {
		// Strategies that were added have IDs that only the server knows.
		now, err := c.flag(ctx, at)
		if err != nil {
			return nil, err
		}
		pairs := pair(now.content, wanted)
		if len(now.strategies) != len(pairs) || slices.Contains(pairs, -1) {
			return nil, errMoved
		}
		var before, after []place
		for n, s := range now.strategies {
			before = append(before, place{ID: s.ID, Order: n})
		}
		for n, at := range pairs {
			after = append(after, place{ID: now.strategies[at].ID, Order: n})
		}
		sort := func(ctx context.Context, places []place) error {
			return c.call(ctx, http.MethodPost, "sort the strategies of flag "+at.flag, at.inside()+"/strategies/set-sort-order", nil, places, nil)
		}
		return func(ctx context.Context) error { return sort(ctx, before) }, sort(ctx, after)
	}
}
