// Package contract holds the facts of LaunchDarkly's REST API that the stand-in
// enforces. The facts are derived by the program in gen from LaunchDarkly's OpenAPI
// document; they hold names, types, enumerations and bounds, and no prose. Only the
// stand-in imports it.
//
// To derive them again, take api/openapi.yaml of version 22.0.0 of LaunchDarkly's client
// https://github.com/launchdarkly/api-client-go and run:
//
//	go run ./test/fakes/launchdarkly/contract/gen -spec openapi.yaml
package contract

import (
	_ "embed"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

//go:embed facts.json
var facts []byte

// Facts returns the committed facts; it panics when they do not decode.
func Facts() *rest.Facts { return rest.MustLoad(facts) }
