package flaggertest

import (
	"testing"

	"github.com/backout/backout/test/controlplane"
)

const (
	// BinaryVariable names the environment variable that holds the path of the built
	// controller, which has its definitions beside it.
	BinaryVariable = "BACKOUT_TEST_FLAGGER"
	// Command provides what Require asks for, from the root of the repository.
	Command = `(cd test/flagger && mkdir -p /tmp/backout-flagger && go build -o /tmp/backout-flagger/flagger . && ` +
		`cat "$(go list -m -f '{{.Dir}}' github.com/fluxcd/flagger)/artifacts/flagger/crd.yaml" >/tmp/backout-flagger/crd.yaml) && ` +
		`export ` + BinaryVariable + `=/tmp/backout-flagger/flagger`
)

// Require returns the control plane of this test process, with the controller of Flagger
// on it. With a variable that is not set the test is skipped with the command that
// provides what is missing, or fails where CI is set.
func Require(tb testing.TB) *controlplane.Plane {
	tb.Helper()
	plane := controlplane.Require(tb)
	plane.Controller(tb, BinaryVariable, Command)
	return plane
}
