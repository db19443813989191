// Package contract holds the facts of PagerDuty's REST and Events APIs that
// the stand-in enforces. The facts are derived by the program in gen from
// PagerDuty's OpenAPI documents; they hold names, types, enumerations and
// bounds, and no prose. Only the stand-in imports it.
//
// To derive them again:
//
//	go run ./test/fakes/pagerduty/contract/gen -rest rest.openapi.json -events events-v2.openapi.json
package contract

import (
	_ "embed"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

//go:embed facts.json
var facts []byte

// Facts returns the committed facts; it panics when they do not decode.
func Facts() *rest.Facts { return rest.MustLoad(facts) }
