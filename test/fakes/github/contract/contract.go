// Package contract holds the facts of GitHub's REST API that the stand-in
// enforces. The facts are derived by the program in gen from GitHub's OpenAPI
// document; they hold names, types, enumerations and bounds, and no prose.
// Only the stand-in imports it.
//
// To derive them again, unpack api.github.com.json of the npm package
// @octokit/openapi and run:
//
//	go run ./test/fakes/github/contract/gen -spec api.github.com.json
package contract

import (
	_ "embed"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

//go:embed facts.json
var facts []byte

// Facts returns the committed facts; it panics when they do not decode.
func Facts() *rest.Facts { return rest.MustLoad(facts) }
