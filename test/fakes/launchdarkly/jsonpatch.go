package fakelaunchdarkly

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// errTest means that a test of a JSON Patch failed.
var errTest = errors.New("test failed")

// operation is one step of a JSON Patch.
// Source: https://www.rfc-editor.org/rfc/rfc6902
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// tokens are the parts of the operation's path.
func (o operation) tokens() []string {
	parts := strings.Split(strings.TrimPrefix(o.Path, "/"), "/")
	for n, part := range parts {
		parts[n] = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
	}
	return parts
}

// apply carries the operation out on a document and returns the document after it.
func (o operation) apply(document any, tokens []string) (any, error) {
	if len(tokens) == 0 {
		switch o.Op {
		case "test":
			if !same(document, o.Value) {
				return nil, errTest
			}
			return document, nil
		default:
			return o.Value, nil
		}
	}
	token, last := tokens[0], len(tokens) == 1
	switch node := document.(type) {
	case map[string]any:
		child, there := node[token]
		switch {
		case last && o.Op == "remove" && there:
			delete(node, token)
			return node, nil
		case !there && (!last || o.Op != "add"):
			return nil, fmt.Errorf("path %q is missing", o.Path)
		}
		changed, err := o.apply(child, tokens[1:])
		if err != nil {
			return nil, err
		}
		node[token] = changed
		return node, nil
	case []any:
		if last && o.Op == "add" && token == "-" {
			return append(node, o.Value), nil
		}
		at, err := strconv.Atoi(token)
		if err != nil || at < 0 || at >= len(node) {
			return nil, fmt.Errorf("path %q is out of range", o.Path)
		}
		switch {
		case last && o.Op == "remove":
			return slices.Delete(node, at, at+1), nil
		case last && o.Op == "add":
			return slices.Insert(node, at, o.Value), nil
		}
		changed, err := o.apply(node[at], tokens[1:])
		if err != nil {
			return nil, err
		}
		node[at] = changed
		return node, nil
	default:
		return nil, fmt.Errorf("path %q is missing", o.Path)
	}
}

func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// clone is a deep copy of what is JSON.
func clone[T any](v T) T {
	var copied T
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &copied)
	}
	if err != nil {
		panic(err) // Everything here is JSON.
	}
	return copied
}
