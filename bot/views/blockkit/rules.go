package blockkit

import (
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// rule checks one value and records what is wrong with it.
type rule func(w *walker, path string, value any)

// field is one member that an object may have.
type field struct {
	name     string
	required bool
	check    rule
}

func must(name string, check rule) field { return field{name: name, required: true, check: check} }
func may(name string, check rule) field  { return field{name: name, check: check} }

// object checks the members of an object: known ones by their rule, missing
// required ones and unknown ones as problems. It returns nil if value is no object.
func (w *walker) object(path string, value any, fields ...field) map[string]any {
	members, ok := value.(map[string]any)
	if !ok {
		w.fail(path, "must provide an object")
		return nil
	}
	known := make(map[string]bool, len(fields))
	for _, f := range fields {
		known[f.name] = true
		member, present := members[f.name]
		switch {
		case present:
			f.check(w, path+"/"+f.name, member)
		case f.required:
			w.fail(path, "missing required field: %s", f.name)
		}
	}
	unknown := make([]string, 0)
	for name := range members {
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	sort.Strings(unknown)
	for _, name := range unknown {
		w.fail(path+"/"+escapePointer(name), "unknown field")
	}
	return members
}

// escapePointer escapes a member name for a JSON pointer.
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// kind returns the type member of an object, after checking that there is one.
func (w *walker) kind(path string, value any) (string, bool) {
	members, ok := value.(map[string]any)
	if !ok {
		w.fail(path, "must provide an object")
		return "", false
	}
	raw, present := members["type"]
	if !present {
		w.fail(path, "missing required field: type")
		return "", false
	}
	name, ok := raw.(string)
	if !ok {
		w.fail(path+"/type", "must provide a string")
		return "", false
	}
	return name, true
}

// text returns a rule for strings of between low and high characters.
func text(low, high int) rule {
	return func(w *walker, path string, value any) {
		s, ok := value.(string)
		if !ok {
			w.fail(path, "must provide a string")
			return
		}
		w.length(path, s, low, high)
	}
}

func (w *walker) length(path, s string, low, high int) {
	n := utf8.RuneCountInString(s)
	if n < low {
		w.fail(path, "must be more than %d characters", low-1)
	}
	if n > high {
		w.fail(path, "must be less than %d characters", high+1)
	}
}

// oneOf returns a rule for strings out of a fixed set.
func oneOf(allowed ...string) rule {
	return func(w *walker, path string, value any) {
		s, ok := value.(string)
		if !ok {
			w.fail(path, "must provide a string")
			return
		}
		if !slices.Contains(allowed, s) {
			w.fail(path, "must be one of: %s", strings.Join(allowed, ", "))
		}
	}
}

// boolean is the rule for true and false.
func boolean(w *walker, path string, value any) {
	if _, ok := value.(bool); !ok {
		w.fail(path, "must provide a boolean")
	}
}

// integer returns a rule for whole numbers between low and high.
func integer(low, high int64) rule {
	return func(w *walker, path string, value any) {
		number, ok := value.(json.Number)
		if !ok {
			w.fail(path, "must provide an integer")
			return
		}
		n, err := strconv.ParseInt(number.String(), 10, 64)
		switch {
		case err != nil:
			w.fail(path, "must provide an integer")
		case n < low:
			w.fail(path, "must be at least %d", low)
		case n > high:
			w.fail(path, "must be at most %d", high)
		}
	}
}

// decimal is the rule for a number written as a string.
func decimal(w *walker, path string, value any) {
	s, ok := value.(string)
	if !ok {
		w.fail(path, "must provide a string")
		return
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		w.fail(path, "must be a number")
	}
}

// list returns a rule for arrays of between low and high items, each by its rule.
func list(low, high int, item rule) rule {
	return func(w *walker, path string, value any) {
		items, ok := value.([]any)
		if !ok {
			w.fail(path, "must provide an array")
			return
		}
		if len(items) < low {
			w.fail(path, "no fewer than %d items allowed", low)
		}
		if len(items) > high {
			w.fail(path, "no more than %d items allowed", high)
			return
		}
		for i, it := range items {
			item(w, path+"/"+strconv.Itoa(i), it)
		}
	}
}

// address returns a rule for absolute addresses. With schemes given, only those
// are allowed.
func address(schemes ...string) rule {
	return func(w *walker, path string, value any) {
		s, ok := value.(string)
		if !ok {
			w.fail(path, "must provide a string")
			return
		}
		w.length(path, s, 1, maxURL)
		u, err := url.Parse(s)
		if err != nil || u.Scheme == "" || (u.Host == "" && u.Opaque == "") {
			w.fail(path, "must be a valid url")
			return
		}
		if len(schemes) > 0 && !slices.Contains(schemes, u.Scheme) {
			w.fail(path, "must be a valid url")
		}
	}
}

// actionID is the rule for action_id: sized, and not repeated within the block.
func actionID(w *walker, path string, value any) {
	s, ok := value.(string)
	if !ok {
		w.fail(path, "must provide a string")
		return
	}
	w.length(path, s, 1, maxActionID)
	if w.actionIDs[s] {
		w.fail(path, "action_id already exists for another element in this block")
	}
	w.actionIDs[s] = true
}

// blockID is the rule for block_id: sized, and not repeated within the document.
func blockID(w *walker, path string, value any) {
	s, ok := value.(string)
	if !ok {
		w.fail(path, "must provide a string")
		return
	}
	w.length(path, s, 1, maxBlockID)
	if w.blockIDs[s] {
		w.fail(path, "block_id already exists for another block")
	}
	w.blockIDs[s] = true
}

// focus is the rule for focus_on_load, which one element of a view may set.
func focus(w *walker, path string, value any) {
	on, ok := value.(bool)
	if !ok {
		w.fail(path, "must provide a boolean")
		return
	}
	if on && w.focused {
		w.fail(path, "only one element can have focus_on_load")
	}
	w.focused = w.focused || on
}

// typed is the rule for a type member that has been looked at already.
func typed(*walker, string, any) {}

// amongOptions checks that an initial choice is one of the options on offer.
func (w *walker) amongOptions(path string, choice any, members map[string]any) {
	offered, _ := members["options"].([]any)
	groups, _ := members["option_groups"].([]any)
	for _, g := range groups {
		group, _ := g.(map[string]any)
		inner, _ := group["options"].([]any)
		offered = append(slices.Clone(offered), inner...)
	}
	for _, o := range offered {
		if reflect.DeepEqual(o, choice) {
			return
		}
	}
	w.fail(path, "must match one of the options")
}
