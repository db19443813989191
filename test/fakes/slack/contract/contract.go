package contract

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
)

//go:generate go run ./gen -methods $SLACK_METHODS -out methods.json

// Method is what is known of one Web API method.
type Method struct {
	// HTTP is the documented verb, GET or POST. Slack answers both.
	HTTP string `json:"http"`
	// JSON says that arguments may come as an application/json body.
	JSON bool `json:"json,omitempty"`
	// Tier is the rate tier, 1 to 5; 5 stands for "special". Source of the numbers a
	// minute: https://docs.slack.dev/apis/web-api/rate-limits
	Tier int `json:"tier"`
	// Scopes are the bot scopes of which any one opens the method; none means that
	// any token does.
	Scopes []string `json:"scopes,omitempty"`
	// Args are the arguments by name, the token left out.
	Args map[string]Arg `json:"args,omitempty"`
	// Errors are the codes particular to the method, sorted.
	Errors []string `json:"errors,omitempty"`
}

// Arg is what is known of one argument.
type Arg struct {
	// Types are the JSON types the argument may have, sorted; none means any.
	Types []string `json:"types,omitempty"`
	// Required says that a call without it is refused.
	Required bool `json:"required,omitempty"`
}

//go:embed methods.json
var raw []byte

var load = sync.OnceValues(func() (map[string]Method, error) {
	var methods map[string]Method
	if err := json.Unmarshal(raw, &methods); err != nil {
		return nil, fmt.Errorf("decode methods: %w", err)
	}
	return methods, nil
})

// Lookup returns the facts of a method by its full name, such as chat.postMessage.
func Lookup(name string) (Method, bool) {
	methods, err := load()
	if err != nil {
		return Method{}, false
	}
	m, ok := methods[name]
	return m, ok
}

// Names returns the names of all known methods, sorted.
func Names() []string {
	methods, err := load()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(methods))
}
