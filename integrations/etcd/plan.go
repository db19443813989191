package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback is expected to take: a few round trips.
const expectedTime = time.Second

// Plan resolves the wanted revision against the store's history.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	key, err := parseKey(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	planned, err := i.plan(ctx, &checks, key, req)
	if errors.Is(err, driver.ErrDenied) {
		checks.Block("permission", "Backout may not read the key %s, or the clock of the store.", key)
		err = nil
	}
	switch {
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	case checks.Blocked():
		return driver.Planned{Preflight: checks}, nil
	}
	planned.Preflight = checks
	return planned, nil
}

func (i inverse) plan(ctx context.Context, checks *driver.Findings, key string, req driver.PlanRequest) (driver.Planned, error) {
	present, newest, err := i.conn.at(ctx, key, 0)
	if err != nil {
		return driver.Planned{}, err
	}
	if present.there {
		checks.Pass("key exists", "The key %s is at %s.", key, present.name())
	}
	wanted, ok, err := i.resolve(ctx, checks, key, newest, req)
	if err != nil || !ok {
		return driver.Planned{}, err
	}
	switch {
	case !present.there && !wanted.there:
		checks.Block("key exists", "The store has no key %s, neither now nor at revision %d.", key, wanted.revision)
		return driver.Planned{}, nil
	case wanted.digest() == present.digest():
		checks.Block("not there already", "The key %s has the value of %s already.", key, wanted.name())
		return driver.Planned{}, nil
	case !wanted.there:
		checks.Warn("revision exists", "The key %s had no value at revision %d, so that it is deleted.", key, wanted.revision)
	default:
		checks.Pass("revision exists", "The history keeps %s of the key %s.", wanted.name(), key)
	}
	if wanted.lease != present.lease {
		checks.Warn("lease", "The key %s was attached to another lease at %s, which does not come back.", key, wanted.name())
	}
	i.takesWrites(ctx, checks)
	i.permitted(ctx, checks, key)
	return driver.Planned{
		From:         present.state(),
		To:           wanted.state(),
		Reversible:   true,
		ExpectedTime: expectedTime,
		WontRevert:   slices.Clone(wontRevert),
	}, nil
}

// resolve finds what the key was at the wanted revision. Its own revision is that of
// the write, whatever revision of the store was asked for.
func (i inverse) resolve(ctx context.Context, checks *driver.Findings, key string, newest int64, req driver.PlanRequest) (entry, bool, error) {
	const name = "revision exists"
	revision := int64(0)
	if req.Revision != "" {
		number, err := strconv.ParseInt(req.Revision, 10, 64)
		if err != nil || number <= 0 {
			checks.Block(name, "%q is not a revision: revisions are whole numbers above zero.", printable(req.Revision, maxLabel))
			return entry{}, false, nil
		}
		revision = number
	} else {
		moment := req.Before.UTC().Format(time.RFC3339Nano)
		found, err := i.conn.lastBefore(ctx, req.Before, newest)
		switch {
		case errors.Is(err, errNoClock):
			checks.Block(name, "The store keeps no times and the settings name no clock_key: name the revision.")
			return entry{}, false, nil
		case errors.Is(err, errEarlier):
			checks.Block(name, "The history and the clock %s do not reach back before %s.", i.conn.settings.ClockKey, moment)
			return entry{}, false, nil
		case errors.Is(err, driver.ErrInvalid):
			checks.Block(name, "The clock %s holds no time.", i.conn.settings.ClockKey)
			return entry{}, false, nil
		case err != nil:
			return entry{}, false, err
		}
		revision = found
		checks.Pass("clock", "Revision %d of the store is the last before %s, by the clock %s.", found, moment, i.conn.settings.ClockKey)
	}
	wanted, _, err := i.conn.at(ctx, key, revision)
	switch {
	case errors.Is(err, errCompacted):
		checks.Block(name, "Revision %d was compacted away, so that there is nothing to go back to.", revision)
		return entry{}, false, nil
	case errors.Is(err, errFuture):
		checks.Block(name, "There is no revision %d: the newest of the store is %d.", revision, newest)
		return entry{}, false, nil
	case err != nil:
		return entry{}, false, err
	}
	return wanted, true, nil
}

// takesWrites asks a member whether the store is full.
func (i inverse) takesWrites(ctx context.Context, checks *driver.Findings) {
	const name = "store takes writes"
	var answer *pb.StatusResponse
	err := i.conn.call(ctx, func(ctx context.Context) (err error) {
		answer, err = pb.NewMaintenanceClient(i.conn.client).Status(ctx, &pb.StatusRequest{})
		return err
	})
	switch {
	case errors.Is(err, errForbidden):
		return // Later servers tell it to the root user alone.
	case err != nil:
		checks.Unknown(name, "The store did not say whether it takes writes.")
		return
	}
	for _, problem := range answer.Errors {
		if strings.Contains(problem, pb.AlarmType_NOSPACE.String()) || strings.Contains(problem, "no space") {
			checks.Block(name, "The store is full and takes no writes until it is defragmented and the alarm is disarmed.")
			return
		}
	}
	checks.Pass(name, "The store takes writes.")
}

// permitted asks the store what this user may write.
func (i inverse) permitted(ctx context.Context, checks *driver.Findings, key string) {
	const name = "permission"
	switch allowed, err := i.conn.mayWrite(ctx, key); {
	case err != nil:
		checks.Unknown(name, "The store did not say whether Backout may write the key %s.", key)
	case !allowed:
		checks.Block(name, "Backout may not write the key %s.", key)
	default:
		checks.Pass(name, "Backout may write the key %s.", key)
	}
}

// rootRole may do everything.
// Source: https://etcd.io/docs/v3.6/op-guide/authentication/rbac/
const rootRole = "root"

// errWho means that the settings do not say who the user is: a certificate does.
var errWho = errors.New("the settings name no user")

// mayWrite reports whether a role of the user may write a key. Each user may ask for
// its own roles, and for what they grant.
func (c *connection) mayWrite(ctx context.Context, key string) (bool, error) {
	client := pb.NewAuthClient(c.client)
	token, err := c.login(ctx)
	switch {
	case err != nil:
		return false, err
	case c.settings.User == "":
		return false, errWho
	case token == "":
		return true, nil // The store asks nobody who they are.
	}
	var user *pb.AuthUserGetResponse
	if err := c.call(ctx, func(ctx context.Context) (err error) {
		user, err = client.UserGet(ctx, &pb.AuthUserGetRequest{Name: c.settings.User})
		return err
	}); err != nil {
		return false, err
	}
	for _, role := range user.Roles {
		if role == rootRole {
			return true, nil
		}
		var grants *pb.AuthRoleGetResponse
		if err := c.call(ctx, func(ctx context.Context) (err error) {
			grants, err = client.RoleGet(ctx, &pb.AuthRoleGetRequest{Role: role})
			return err
		}); err != nil {
			return false, err
		}
		if slices.ContainsFunc(grants.Perm, func(p *authpb.Permission) bool { return grantsWrite(p, []byte(key)) }) {
			return true, nil
		}
	}
	return false, nil
}

// grantsWrite reports whether a permission covers the writing of a key.
func grantsWrite(p *authpb.Permission, key []byte) bool {
	if p.PermType != authpb.Permission_WRITE && p.PermType != authpb.Permission_READWRITE {
		return false
	}
	switch {
	case len(p.RangeEnd) == 0:
		return bytes.Equal(p.Key, key)
	case bytes.Equal(p.RangeEnd, []byte{0}): // Every key from there on.
		return bytes.Compare(key, p.Key) >= 0
	default:
		return bytes.Compare(key, p.Key) >= 0 && bytes.Compare(key, p.RangeEnd) < 0
	}
}
