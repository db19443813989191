package kubernetestest

import (
	"context"
	"testing"

	"k8s.io/client-go/dynamic"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/test/controlplane"
)

// Connection is what the case of a kind in another package needs to reach the API
// server as the suite wants it.
type Connection struct {
	// Upstream, Connect and Throttle are the fields of a drivertest.Target.
	Upstream string
	Connect  func(address string, as drivertest.Credential) driver.System
	Throttle func(ctx context.Context) error
	// Tokens are the secrets of its credentials.
	Tokens []string
}

// Connect puts a front before the API server of a control plane.
func Connect(tb testing.TB, plane *controlplane.Plane) Connection {
	tb.Helper()
	front, connect := connected(tb, plane)
	return Connection{
		Upstream: front.address(), Connect: connect, Throttle: front.throttle,
		Tokens: []string{token(tb, plane, drivertest.Owner), token(tb, plane, drivertest.Reader)},
	}
}

// User is the user of the control plane that a credential belongs to, without any
// right.
func User(as drivertest.Credential) string { return users[as] }

// Objects is a client with all rights.
func Objects(tb testing.TB, plane *controlplane.Plane) dynamic.Interface {
	tb.Helper()
	return objects(tb, plane)
}
