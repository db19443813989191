package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/backout/backout/test/controlplane/launch"
)

const (
	// BinaryVariable names the environment variable that holds the path of the built
	// store.
	BinaryVariable = "BACKOUT_TEST_ETCD"
	// Command provides what Require asks for, from the root of the repository.
	Command = `(cd test/etcd && go build -o /tmp/backout-etcd .) && export ` + BinaryVariable + `=/tmp/backout-etcd`
)

// root is the user who may do everything, with a password of its own in each store.
const root = "root"

// Store is a running store that asks its users who they are.
type Store struct {
	// Address is where it listens, as host:port.
	Address string

	conn     *grpc.ClientConn
	token    string
	password string
	// process is kept because a pipe that is collected is closed.
	process *launch.Process

	mu sync.Mutex
	// users are the passwords of those that were added.
	users map[string]string
}

// shared is the one store of this process, and ends with it.
var shared = sync.OnceValues(func() (*Store, error) { return start(context.Background()) })

// Require returns the store of this test process and starts it at the first call.
func Require(tb testing.TB) *Store {
	tb.Helper()
	need(tb)
	s, err := shared()
	require.NoError(tb, err)
	return s
}

// Own starts a store that no other test uses and that ends with the test, for what
// concerns all keys.
func Own(tb testing.TB) *Store {
	tb.Helper()
	need(tb)
	s, err := start(tb.Context())
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, errors.Join(s.conn.Close(), s.process.Close())) })
	return s
}

func need(tb testing.TB) {
	tb.Helper()
	if os.Getenv(BinaryVariable) == "" {
		const missing = "needs an etcd; this gives one: " + Command
		if os.Getenv("CI") != "" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
}

// start starts a store and makes it ask who its users are.
func start(ctx context.Context) (*Store, error) {
	process, err := launch.Start(ctx, os.Getenv(BinaryVariable))
	if err != nil {
		return nil, err
	}
	at, err := url.Parse(process.Etcd)
	if err != nil {
		return nil, fmt.Errorf("read address of the store: %w", err)
	}
	s := &Store{Address: at.Host, password: rand.Text(), process: process, users: map[string]string{}}
	if s.conn, err = grpc.NewClient(at.Host, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true))); err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	auth := pb.NewAuthClient(s.conn)
	for _, step := range []func() error{
		func() error {
			_, err := auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: root, Password: s.password})
			return err
		},
		func() error {
			_, err := auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: root, Role: root})
			return err
		},
		func() error {
			_, err := auth.AuthEnable(ctx, &pb.AuthEnableRequest{})
			return err
		},
		func() error {
			answer, err := auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: root, Password: s.password})
			s.token = answer.GetToken()
			return err
		},
	} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("prepare the store: %w", err)
		}
	}
	return s, nil
}

// as is the context of a request of the user who may do everything. The store forgets
// tokens that are not used for minutes, which no test is.
func (s *Store) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, rpctypes.TokenFieldNameGRPC, s.token)
}

// again makes a request until the store does not answer that a user or a role was
// changed at that moment.
func again[A any](request func() (A, error)) (A, error) {
	for {
		answer, err := request()
		if status.Convert(err).Message() != status.Convert(rpctypes.ErrGRPCAuthOldRevision).Message() {
			return answer, err
		}
	}
}

// Put writes a key and returns its revision.
func (s *Store) Put(ctx context.Context, key, value string, lease int64) (int64, error) {
	answer, err := again(func() (*pb.PutResponse, error) {
		return pb.NewKVClient(s.conn).Put(s.as(ctx), &pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: lease})
	})
	if err != nil {
		return 0, fmt.Errorf("put %q: %w", key, err)
	}
	return answer.Header.Revision, nil
}

// User adds a user with a role of the same name and some permissions, unless it is
// there, and returns the password. Whenever a user or a role changes, the store refuses
// all tokens once: users are for all tests of a process.
func (s *Store) User(tb testing.TB, user string, permissions ...*authpb.Permission) (password string) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if password, ok := s.users[user]; ok {
		return password
	}
	password = "canary-" + rand.Text()
	auth, ctx := pb.NewAuthClient(s.conn), s.as(tb.Context())
	_, err := again(func() (*pb.AuthRoleAddResponse, error) {
		return auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: user})
	})
	require.NoError(tb, err)
	for _, permission := range permissions {
		_, err = again(func() (*pb.AuthRoleGrantPermissionResponse, error) {
			return auth.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: user, Perm: permission})
		})
		require.NoError(tb, err)
	}
	_, err = again(func() (*pb.AuthUserAddResponse, error) {
		return auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: user, Password: password})
	})
	require.NoError(tb, err)
	_, err = again(func() (*pb.AuthUserGrantRoleResponse, error) {
		return auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: user, Role: user})
	})
	require.NoError(tb, err)
	s.users[user] = password
	return password
}

// MustPut is Put without an error.
func (s *Store) MustPut(tb testing.TB, key, value string) int64 {
	tb.Helper()
	revision, err := s.Put(tb.Context(), key, value, 0)
	require.NoError(tb, err)
	return revision
}

// Delete deletes a key and returns the revision of the store.
func (s *Store) Delete(tb testing.TB, key string) int64 {
	tb.Helper()
	answer, err := again(func() (*pb.DeleteRangeResponse, error) {
		return pb.NewKVClient(s.conn).DeleteRange(s.as(tb.Context()), &pb.DeleteRangeRequest{Key: []byte(key)})
	})
	require.NoError(tb, err)
	return answer.Header.Revision
}

// Get reads a key: its value, whether it is there, how often it was written since it
// was made, and its lease.
func (s *Store) Get(ctx context.Context, key string) (value string, there bool, version, lease int64, err error) {
	answer, err := again(func() (*pb.RangeResponse, error) {
		return pb.NewKVClient(s.conn).Range(s.as(ctx), &pb.RangeRequest{Key: []byte(key)})
	})
	if err != nil {
		return "", false, 0, 0, fmt.Errorf("get %q: %w", key, err)
	}
	if len(answer.Kvs) == 0 {
		return "", false, 0, 0, nil
	}
	kv := answer.Kvs[0]
	return string(kv.Value), true, kv.Version, kv.Lease, nil
}

// Grant makes a lease.
func (s *Store) Grant(tb testing.TB) int64 {
	tb.Helper()
	answer, err := again(func() (*pb.LeaseGrantResponse, error) {
		return pb.NewLeaseClient(s.conn).LeaseGrant(s.as(tb.Context()), &pb.LeaseGrantRequest{TTL: 3600})
	})
	require.NoError(tb, err)
	return answer.ID
}

// Compact forgets all that is older than a revision.
func (s *Store) Compact(tb testing.TB, revision int64) {
	tb.Helper()
	_, err := again(func() (*pb.CompactionResponse, error) {
		return pb.NewKVClient(s.conn).Compact(s.as(tb.Context()), &pb.CompactionRequest{Revision: revision, Physical: true})
	})
	require.NoError(tb, err)
}

// Tick writes the time to a clock.
func (s *Store) Tick(tb testing.TB, clock string, at time.Time) int64 {
	tb.Helper()
	return s.MustPut(tb, clock, at.UTC().Format(time.RFC3339Nano))
}
