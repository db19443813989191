// Command gen derives facts.json from LaunchDarkly's OpenAPI document, which its client
// https://github.com/launchdarkly/api-client-go carries as api/openapi.yaml.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// operations are the endpoints that the stand-in serves.
var operations = []string{
	"GET /api/v2/caller-identity",
	"GET /api/v2/flags/{projectKey}/{featureFlagKey}",
	"PATCH /api/v2/flags/{projectKey}/{featureFlagKey}",
	"GET /api/v2/projects/{projectKey}/environments/{environmentKey}",
	"GET /api/v2/projects/{projectKey}/flags/{featureFlagKey}/environments/{environmentKey}/scheduled-changes",
	"GET /api/v2/auditlog",
	"GET /api/v2/auditlog/{id}",
}

// replyDepth keeps the fields of a flag, of its configuration in an environment and of
// the rules in that.
const replyDepth = 4

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	spec := flags.String("spec", "", "LaunchDarkly's OpenAPI document, in YAML")
	out := flags.String("out", "test/fakes/launchdarkly/contract/facts.json", "where the facts are written")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := generate(*spec, *out); err != nil {
		_, _ = fmt.Fprintln(stderr, err) // There is nobody else to tell.
		return 1
	}
	return 0
}

func generate(spec, out string) error {
	content, err := os.ReadFile(spec)
	if err != nil {
		return fmt.Errorf("read document %q: %w", spec, err)
	}
	document, err := yaml.YAMLToJSON(content)
	if err != nil {
		return fmt.Errorf("decode document %q: %w", spec, err)
	}
	facts, err := rest.Derive(document, rest.Selection{
		Source: "LaunchDarkly REST API 2.0, api-client-go v22.0.0", Operations: operations, ReplyDepth: replyDepth,
	})
	if err != nil {
		return err
	}
	data, err := facts.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, data, 0o600); err != nil {
		return fmt.Errorf("write facts %q: %w", out, err)
	}
	return nil
}
