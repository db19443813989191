package argotest

import (
	"testing"

	"github.com/backout/backout/test/controlplane"
)

const (
	// BinaryVariable names the environment variable that holds the path of the built
	// controller, which has its definition beside it.
	BinaryVariable = "BACKOUT_TEST_ARGO"
	// Command provides what Require asks for, from the root of the repository.
	Command = `(cd test/argo && mkdir -p /tmp/backout-argo && go build -o /tmp/backout-argo/argo . && ` +
		`cat "$(go list -m -f '{{.Dir}}' github.com/argoproj/argo-rollouts)/manifests/crds/rollout-crd.yaml" >/tmp/backout-argo/crd.yaml) && ` +
		`export ` + BinaryVariable + `=/tmp/backout-argo/argo`
)

// Require returns the control plane of this test process, with the controller of Argo
// Rollouts on it. With a variable that is not set the test is skipped with the command that
// provides what is missing, or fails where CI is set.
func Require(tb testing.TB) *controlplane.Plane {
	tb.Helper()
	plane := controlplane.Require(tb)
	plane.Controller(tb, BinaryVariable, Command)
	return plane
}
