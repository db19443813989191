package embedded

import (
	"context"

	"go.temporal.io/server/common/api"
	"go.temporal.io/server/common/authorization"
	"google.golang.org/grpc/metadata"
)

// forwardedHost is the metadata key that the HTTP gateway adds to each call,
// in the server's HTTP API and in the Web UI alike.
// Source: grpc-gateway runtime/context.go, AnnotateContext.
const forwardedHost = "x-forwarded-host"

// browserGuard is the server's authorizer. Calls over gRPC may do anything;
// calls that came through an HTTP gateway, which any page in a browser of this
// machine can make, may only read.
type browserGuard struct{}

var _ authorization.Authorizer = browserGuard{}

// Authorize implements authorization.Authorizer.
func (browserGuard) Authorize(ctx context.Context, _ *authorization.Claims, target *authorization.CallTarget) (authorization.Result, error) {
	if len(metadata.ValueFromIncomingContext(ctx, forwardedHost)) == 0 {
		return authorization.Result{Decision: authorization.DecisionAllow}, nil
	}
	if api.GetMethodMetadata(target.APIName).Access == api.AccessReadOnly {
		return authorization.Result{Decision: authorization.DecisionAllow}, nil
	}
	return authorization.Result{
		Decision: authorization.DecisionDeny,
		Reason:   "calls over HTTP to the embedded server are read-only",
	}, nil
}
