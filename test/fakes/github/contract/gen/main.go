// Command gen derives facts.json from GitHub's OpenAPI document, which the npm
// package @octokit/openapi publishes.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// operations are the endpoints that the stand-in serves.
var operations = []string{
	"GET /user",
	"GET /orgs/{org}/teams/{team_slug}", "GET /orgs/{org}/teams/{team_slug}/memberships/{username}",
	"GET /repos/{owner}/{repo}",
	"GET /repos/{owner}/{repo}/issues", "POST /repos/{owner}/{repo}/issues",
	"GET /repos/{owner}/{repo}/issues/{issue_number}", "PATCH /repos/{owner}/{repo}/issues/{issue_number}",
	"GET /repos/{owner}/{repo}/issues/{issue_number}/comments", "POST /repos/{owner}/{repo}/issues/{issue_number}/comments",
	"PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}",
	"GET /search/issues",
	"GET /repos/{owner}/{repo}/deployments", "POST /repos/{owner}/{repo}/deployments",
	"GET /repos/{owner}/{repo}/deployments/{deployment_id}", "DELETE /repos/{owner}/{repo}/deployments/{deployment_id}",
	"GET /repos/{owner}/{repo}/deployments/{deployment_id}/statuses", "POST /repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
	"GET /repos/{owner}/{repo}/pulls", "GET /repos/{owner}/{repo}/pulls/{pull_number}",
	"POST /repos/{owner}/{repo}/pulls", "PATCH /repos/{owner}/{repo}/pulls/{pull_number}",
	"PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge",
	"GET /repos/{owner}/{repo}/branches/{branch}",
	"GET /repos/{owner}/{repo}/git/commits/{commit_sha}", "POST /repos/{owner}/{repo}/git/commits",
	"GET /repos/{owner}/{repo}/git/trees/{tree_sha}", "POST /repos/{owner}/{repo}/git/trees",
	"GET /repos/{owner}/{repo}/git/ref/{ref}", "POST /repos/{owner}/{repo}/git/refs",
	"PATCH /repos/{owner}/{repo}/git/refs/{ref}", "DELETE /repos/{owner}/{repo}/git/refs/{ref}",
	"GET /repos/{owner}/{repo}/commits", "GET /repos/{owner}/{repo}/commits/{ref}",
	"GET /repos/{owner}/{repo}/compare/{basehead}",
	"GET /repos/{owner}/{repo}/releases",
	"GET /repos/{owner}/{repo}/contents/{path}", "PUT /repos/{owner}/{repo}/contents/{path}",
	"GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}",
	"POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches",
	"GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs",
	"GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs",
	"POST /repos/{owner}/{repo}/actions/runs/{run_id}/cancel",
	"GET /repos/{owner}/{repo}/labels", "POST /repos/{owner}/{repo}/labels",
}

// replyDepth keeps the fields of an object and not those of what it refers
// to: GitHub's objects nest whole repositories.
const replyDepth = 1

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	spec := flags.String("spec", "", "GitHub's OpenAPI document")
	out := flags.String("out", "test/fakes/github/contract/facts.json", "where the facts are written")
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
	document, err := os.ReadFile(spec)
	if err != nil {
		return fmt.Errorf("read document %q: %w", spec, err)
	}
	var info struct {
		Info struct{ Version string }
	}
	if err := json.Unmarshal(document, &info); err != nil {
		return fmt.Errorf("decode document %q: %w", spec, err)
	}
	facts, err := rest.Derive(document, rest.Selection{
		Source: "GitHub REST API, @octokit/openapi " + info.Info.Version, Operations: operations, ReplyDepth: replyDepth,
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
