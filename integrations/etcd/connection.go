package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "etcd"

const (
	// requestTimeout bounds one request, with its answer.
	requestTimeout = 5 * time.Second
	// maxAnswer bounds an answer, in bytes: the server takes requests of up to
	// 1.5 MiB by default, and operators may allow more.
	// Source: https://etcd.io/docs/v3.6/dev-guide/limit/
	maxAnswer = 16 << 20
	// maxLogins is how often a token is asked for in one request.
	maxLogins = 5
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// connection is one cluster.
type connection struct {
	settings Settings
	client   *grpc.ClientConn

	mu sync.Mutex
	// token stands for the user until the server forgets it; empty when there is
	// none yet.
	token string
}

// open makes the client. It does not fail when the cluster can not be reached.
func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	client, err := settings.dial()
	if err != nil {
		return nil, err
	}
	return &connection{settings: settings, client: client}, nil
}

// Close ends the connection.
func (c *connection) Close() error { return c.client.Close() }

// healthKey is what etcd's own command asks for to see whether a member answers. It
// need not be there, and the user need not be allowed to read it.
const healthKey = "health"

// Reach asks for a key, as the user.
func (c *connection) Reach(ctx context.Context) error {
	_, _, err := c.at(ctx, healthKey, 0)
	if errors.Is(err, errForbidden) {
		return nil
	}
	return err
}

// call makes one request as the user. The server forgets tokens when it starts anew
// and when they are not used, and refuses them for a moment when any user or role was
// changed: one that it refuses is asked for again.
func (c *connection) call(ctx context.Context, request func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		token, err := c.login(ctx)
		if err != nil {
			return err
		}
		authorized := ctx
		if token != "" {
			authorized = metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, token)
		}
		err = request(authorized)
		if forgotten(err) && attempt < maxLogins && token != "" {
			c.forget(token)
			continue
		}
		return classify(ctx, err)
	}
}

// forgotten reports whether the server wants a new token.
func forgotten(err error) bool {
	s, ok := status.FromError(err)
	return ok && (s.Code() == codes.Unauthenticated || s.Message() == status.Convert(rpctypes.ErrGRPCAuthOldRevision).Message())
}

func (c *connection) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token = ""
	}
}

// login returns a token; empty when the settings name no user, or when the server
// knows none.
func (c *connection) login(ctx context.Context) (string, error) {
	if c.settings.User == "" {
		return "", nil
	}
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	if token != "" {
		return token, nil
	}
	password, err := secret(c.settings.PasswordFile)
	if err != nil {
		return "", err
	}
	answer, err := pb.NewAuthClient(c.client).Authenticate(ctx, &pb.AuthenticateRequest{Name: c.settings.User, Password: password})
	if err != nil {
		if status.Convert(err).Message() == status.Convert(rpctypes.ErrGRPCAuthNotEnabled).Message() {
			return "", nil
		}
		return "", fmt.Errorf("log in as %q: %w", c.settings.User, classify(ctx, err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = answer.Token
	return c.token, nil
}

// What a request can find, beside the driver's final errors.
var (
	errCompacted = errors.New("the revision was compacted away")
	errFuture    = errors.New("the revision is not there yet")
	// errForbidden is a denial of what was asked, not of the credential.
	errForbidden = fmt.Errorf("%w: no role of the user allows it", driver.ErrDenied)
)

// maxSaid is the longest text of the server that is taken into an error, in
// characters.
const maxSaid = 200

// classify decides once what an error of the server means. What is not one of the
// driver's final errors can be tried again.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("request: %w", cause)
	}
	s, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("request: %w", err)
	}
	is := func(known error) bool { return s.Message() == status.Convert(known).Message() }
	switch {
	case is(rpctypes.ErrGRPCCompacted):
		return errCompacted
	case is(rpctypes.ErrGRPCFutureRev):
		return errFuture
	case is(rpctypes.ErrGRPCAuthFailed), s.Code() == codes.Unauthenticated:
		return fmt.Errorf("%w: the server refused the credential", driver.ErrDenied)
	case is(rpctypes.ErrGRPCUserEmpty):
		return fmt.Errorf("%w: the server wants a user", driver.ErrDenied)
	case s.Code() == codes.PermissionDenied:
		return errForbidden
	case is(rpctypes.ErrGRPCRequestTooLarge):
		return fmt.Errorf("%w: the value is larger than the server takes", driver.ErrInvalid)
	}
	return fmt.Errorf("request: %s: %s", s.Code(), printable(s.Message(), maxSaid))
}
