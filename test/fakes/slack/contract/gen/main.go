// Command gen derives methods.json from a folder with Slack's machine-readable
// method reference, one JSON file a method. It keeps facts and drops every
// sentence: names, types, what is required, tiers, scopes and error codes.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backout/backout/test/fakes/slack/contract"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	folder := flags.String("methods", "", "folder of the method reference, one JSON file a method")
	out := flags.String("out", "methods.json", "file to write")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("parse flags: %w", err)
	}
	if *folder == "" {
		return errors.New("-methods is required")
	}
	encoded, err := derive(*folder)
	if err != nil {
		return err
	}
	if err := os.WriteFile(*out, encoded, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", *out, err)
	}
	return nil
}

// derive reads every method of the folder and returns the facts as compact JSON.
func derive(folder string) ([]byte, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("list %s: no method found", folder)
	}
	methods := make(map[string]contract.Method, len(paths))
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read method %q: %w", name, err)
		}
		method, err := facts(content)
		if err != nil {
			return nil, fmt.Errorf("read method %q: %w", name, err)
		}
		methods[name] = method
	}
	encoded, err := json.Marshal(methods)
	if err != nil {
		return nil, fmt.Errorf("encode methods: %w", err)
	}
	return append(encoded, '\n'), nil
}

// reference is the part of a method's page that carries facts.
type reference struct {
	HTTPMethod string              `json:"http_method"`
	Scope      map[string][]string `json:"scope"`
	RateLimits string              `json:"rate_limits"`
	JSONInput  bool                `json:"json_input_supported"`
	Args       struct {
		Required   []string `json:"required"`
		Properties map[string]struct {
			Type  string `json:"type"`
			AnyOf []struct {
				Type string `json:"type"`
			} `json:"anyOf"`
		} `json:"properties"`
	} `json:"args"`
	Errors map[string]json.RawMessage `json:"errors"`
}

// tiers are the rate tiers by the reference's name for them.
var tiers = map[string]int{"t1": 1, "t2": 2, "t3": 3, "t4": 4, "t5": 5}

func facts(content []byte) (contract.Method, error) {
	var page reference
	if err := json.Unmarshal(content, &page); err != nil {
		return contract.Method{}, err
	}
	tier, ok := tiers[page.RateLimits]
	if !ok {
		return contract.Method{}, fmt.Errorf("unknown rate tier %q", page.RateLimits)
	}
	if page.HTTPMethod == "" {
		return contract.Method{}, errors.New("no HTTP method")
	}
	method := contract.Method{
		HTTP:   page.HTTPMethod,
		JSON:   page.JSONInput,
		Tier:   tier,
		Scopes: slices.Sorted(slices.Values(page.Scope["bot"])),
		Args:   map[string]contract.Arg{},
		Errors: slices.Sorted(maps.Keys(page.Errors)),
	}
	for name, property := range page.Args.Properties {
		if name == "token" {
			continue
		}
		var types []string
		if property.Type != "" {
			types = append(types, property.Type)
		}
		for _, alternative := range property.AnyOf {
			if alternative.Type != "" {
				types = append(types, alternative.Type)
			}
		}
		slices.Sort(types)
		method.Args[name] = contract.Arg{Types: types, Required: slices.Contains(page.Args.Required, name)}
	}
	for _, name := range page.Args.Required {
		if _, ok := page.Args.Properties[name]; !ok {
			return contract.Method{}, fmt.Errorf("required argument %q is not described", name)
		}
	}
	return method, nil
}
