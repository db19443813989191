// Command gen derives facts.json from PagerDuty's OpenAPI documents, which
// are published at https://github.com/PagerDuty/api-schema.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// operations are the REST endpoints that the stand-in serves.
var operations = []string{
	"GET /incidents", "POST /incidents", "PUT /incidents",
	"GET /incidents/{id}", "PUT /incidents/{id}",
	"GET /incidents/{id}/notes", "POST /incidents/{id}/notes",
	"POST /incidents/{id}/responder_requests", "POST /incidents/{id}/status_updates",
	"GET /incidents/{id}/alerts",
	"GET /oncalls", "GET /users", "GET /users/{id}", "GET /teams/{id}/members",
	"GET /services", "GET /services/{id}",
	"GET /escalation_policies/{id}", "GET /schedules/{id}/users",
	"GET /change_events", "GET /services/{id}/change_events",
}

// events are the endpoints of the Events API.
var events = []string{"POST /enqueue", "POST /change/enqueue"}

// replyDepth keeps the envelope, the objects and their references.
const replyDepth = 3

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	restPath := flags.String("rest", "", "PagerDuty's REST OpenAPI document")
	eventsPath := flags.String("events", "", "PagerDuty's Events API v2 OpenAPI document")
	out := flags.String("out", "test/fakes/pagerduty/contract/facts.json", "where the facts are written")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := generate(*restPath, *eventsPath, *out); err != nil {
		_, _ = fmt.Fprintln(stderr, err) // There is nobody else to tell.
		return 1
	}
	return 0
}

func generate(restPath, eventsPath, out string) error {
	facts, err := derive(restPath, rest.Selection{
		Source: "PagerDuty REST API v2 and Events API v2, OpenAPI 2.0.0", Operations: operations, ReplyDepth: replyDepth,
	})
	if err != nil {
		return err
	}
	more, err := derive(eventsPath, rest.Selection{Source: "events", Prefix: "/v2", Operations: events, ReplyDepth: replyDepth})
	if err != nil {
		return err
	}
	facts.Operations = append(facts.Operations, more.Operations...)
	data, err := facts.Encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, data, 0o600); err != nil {
		return fmt.Errorf("write facts %q: %w", out, err)
	}
	return nil
}

func derive(path string, sel rest.Selection) (*rest.Facts, error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read document %q: %w", path, err)
	}
	return rest.Derive(document, sel)
}
