package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// leaseKind is the name of the inverse and of the collector beside it. The change
// source is called otherwise, because it can not tell what the inverse did: Vault
// forgets a lease that has ended.
const (
	leaseKind   = "vault.lease"
	leaseSource = "vault.leases"
)

// leaseForm shows how a target's path is spelled.
const leaseForm = "<lease> or <prefix>/"

// leaseTime is what a revocation is expected to take: the engine has to reach the
// system that the credential is for.
const leaseTime = 5 * time.Second

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       leaseKind,
		System:     systemType,
		Layer:      "security",
		TargetForm: leaseForm,
		OneWay:     "a credential that was revoked is gone; services ask for another",
		WontRevert: leaseWontRevert,
		Permission: `path "sys/leases/lookup/<prefix>" { capabilities = ["list", "sudo"] } path "sys/leases/lookup" { capabilities = ["update"] } path "sys/leases/revoke" { capabilities = ["update"] }`,
	}, func(c *connection) driver.Inverse { return leases{c} })
}

// leaseWontRevert lists what stays as it is.
var leaseWontRevert = []string{
	"a revoked credential: it does not come back, and whoever used it has to ask for another",
	"what was read or written with the credential while it was valid",
	"leases that are issued after the plan was made",
	"sessions that the credential has opened, where the system lets them live on",
}

const (
	// maxLeases is how many leases are looked at for one target.
	maxLeases = 2000
	// maxDepth is how many folders deep they are looked for.
	maxDepth = 8
)

// errManyLeases means that there are more leases than are looked at.
var errManyLeases = fmt.Errorf("%w: there are more than %d leases", driver.ErrInvalid, maxLeases)

// reach is what a target covers: one lease, or what is below a prefix.
type reach struct {
	path   string
	prefix bool
}

func parseLease(target incident.Target) (reach, error) {
	path, prefix := strings.CutSuffix(target.Path, "/")
	if !proper(path, 2) {
		return reach{}, fmt.Errorf("parse target %q: %w: want %s", printable(target.String()), driver.ErrInvalid, leaseForm)
	}
	return reach{path, prefix}, nil
}

// lease is one lease that lives.
type lease struct {
	id      string
	issued  time.Time
	expires time.Time
}

// living reads the leases that a target covers, the oldest first.
func (c *connection) living(ctx context.Context, at reach) ([]lease, error) {
	if !at.prefix {
		found, err := c.lookUp(ctx, at.path)
		if errors.Is(err, errNoLease) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []lease{found}, nil
	}
	var ids []string
	if err := c.list(ctx, at.path, 0, &ids); err != nil {
		return nil, err
	}
	var found []lease
	for _, id := range ids {
		l, err := c.lookUp(ctx, id)
		if errors.Is(err, errNoLease) {
			continue // It has ended meanwhile.
		}
		if err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	slices.SortFunc(found, func(a, b lease) int {
		if order := a.issued.Compare(b.issued); order != 0 {
			return order
		}
		return strings.Compare(a.id, b.id)
	})
	return found, nil
}

// list finds the IDs of the leases below a path.
func (c *connection) list(ctx context.Context, path string, depth int, ids *[]string) error {
	if depth == maxDepth {
		return fmt.Errorf("list leases: %w: there are more than %d folders in each other", driver.ErrInvalid, maxDepth)
	}
	var answer struct {
		Keys []string `json:"keys"`
	}
	err := c.call(ctx, "LIST", "sys/leases/lookup/"+path+"/", nil, nil, &answer)
	if errors.Is(err, driver.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for _, key := range answer.Keys {
		if folder, ok := strings.CutSuffix(key, "/"); ok {
			if err := c.list(ctx, path+"/"+folder, depth+1, ids); err != nil {
				return err
			}
			continue
		}
		if *ids = append(*ids, path+"/"+key); len(*ids) > maxLeases {
			return errManyLeases
		}
	}
	return nil
}

// lookUp reads one lease; errNoLease when it does not live.
func (c *connection) lookUp(ctx context.Context, id string) (lease, error) {
	var answer struct {
		Issued  time.Time `json:"issue_time"`
		Expires moment    `json:"expire_time"`
	}
	err := c.call(ctx, http.MethodPut, "sys/leases/lookup", nil, map[string]string{"lease_id": id}, &answer)
	if errors.Is(err, driver.ErrNotFound) {
		err = errNoLease
	}
	if err == nil && answer.Issued.IsZero() {
		err = errors.New("decode answer: the lease has another form than expected")
	}
	if err != nil {
		return lease{}, fmt.Errorf("look up a lease: %w", err)
	}
	return lease{id: id, issued: answer.Issued.UTC(), expires: answer.Expires.UTC()}, nil
}

// Revisions of a state: no lease, or those issued until a moment.
const (
	revoked     = "revoked"
	issuedUntil = "issued until "
)

// state is that of the newest lease: those that were issued until then are what is
// revoked. IDs are digested, and shown only as targets.
func state(found []lease) incident.State {
	if len(found) == 0 {
		return incident.State{Revision: revoked, Digest: incident.DigestOf([]byte(revoked)), Label: revoked}
	}
	newest := found[len(found)-1]
	until := newest.issued.Format(time.RFC3339Nano)
	return incident.State{
		Revision: issuedUntil + until,
		Digest:   incident.DigestOf([]byte("newest\x00" + newest.id + "\x00" + until)),
		Label:    counted(len(found)),
	}
}

// detail is one line for people about what was observed.
func detail(found []lease) string {
	if len(found) == 0 {
		return "no lease lives"
	}
	return fmt.Sprintf("%s, the newest of which was issued at %s", counted(len(found)), found[len(found)-1].issued.Format(time.RFC3339Nano))
}

func counted(n int) string {
	if n == 1 {
		return "1 lease"
	}
	return fmt.Sprintf("%d leases", n)
}

// leases revokes what a target covers.
type leases struct{ conn *connection }

// seen is the state of a target as an action is to see it: what is left of a
// revocation that was cut off, or of leases that ended by themselves, is still "from".
func seen(found []lease, action incident.Action) incident.State {
	present := state(found)
	until, ok := strings.CutPrefix(action.From.Revision, issuedUntil)
	if !ok || len(found) == 0 {
		return present
	}
	moment, err := time.Parse(time.RFC3339Nano, until)
	if err == nil && found[len(found)-1].issued.Before(moment) {
		return action.From
	}
	return present
}

// Observe reads which leases live. A revocation that Vault has answered is settled.
func (i leases) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	at, err := parseLease(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	found, err := i.conn.living(ctx, at)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: seen(found, action), Settled: true, Detail: detail(found)}, nil
}

// Apply revokes the leases that live, one by one, the oldest first. It awaits each
// revocation.
func (i leases) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	at, err := parseLease(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, at, action)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

func (i leases) apply(ctx context.Context, at reach, action incident.Action) (driver.Receipt, error) {
	found, err := i.conn.living(ctx, at)
	if err != nil {
		return driver.Receipt{}, err
	}
	switch present := seen(found, action); present.Digest {
	case action.To.Digest:
		return driver.Receipt{Detail: "no lease lived any more"}, nil
	case action.From.Digest:
	default:
		return driver.Receipt{}, &driver.DriftError{Action: action, Observed: present, Difference: detail(found)}
	}
	if action.To.Digest != state(nil).Digest {
		return driver.Receipt{}, fmt.Errorf("%w: a lease can be revoked, and nothing else", driver.ErrInvalid)
	}
	for n, l := range found {
		// Revoking what has ended is no error, so that it can be tried again.
		request := map[string]any{"lease_id": l.id, "sync": true}
		if err := i.conn.call(ctx, http.MethodPut, "sys/leases/revoke", nil, request, nil); err != nil {
			return driver.Receipt{Mutated: n > 0, Detail: counted(n) + " revoked"}, fmt.Errorf("revoke lease %d of %d: %w", n+1, len(found), err)
		}
	}
	return driver.Receipt{Mutated: true, Detail: counted(len(found)) + " revoked"}, nil
}

// Plan finds the leases that would be revoked.
func (i leases) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseLease(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	planned, err := i.plan(ctx, &checks, at, req)
	switch {
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not look for the leases of %s.", at.path)
	case errors.Is(err, errManyLeases):
		checks.Block("leases exist", "There are more than %d leases below %s, which is too many to revoke one by one.", maxLeases, at.path)
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	planned.Preflight = checks
	return planned, nil
}

func (i leases) plan(ctx context.Context, checks *driver.Findings, at reach, req driver.PlanRequest) (driver.Planned, error) {
	found, err := i.conn.living(ctx, at)
	if err != nil {
		return driver.Planned{}, err
	}
	if len(found) == 0 {
		checks.Block("leases exist", "No lease of %s lives.", at.path)
		return driver.Planned{}, nil
	}
	checks.Pass("leases exist", "%s of %s: %s.", strings.ToUpper(counted(len(found))[:1])+counted(len(found))[1:], at.path, detail(found))
	switch {
	case req.Revision == revoked:
	case req.Revision != "":
		checks.Block("state exists", "A lease can be %s, and nothing else: it can not be at %q.", revoked, printable(req.Revision))
		return driver.Planned{}, nil
	case found[0].issued.Before(req.Before):
		checks.Block("state exists", "A lease of %s was issued before %s already: name the revision %q where it is to be revoked all the same.", at.path, req.Before.UTC().Format(time.RFC3339), revoked)
		return driver.Planned{}, nil
	default:
		checks.Pass("state exists", "No lease of %s that lives was issued before %s.", at.path, req.Before.UTC().Format(time.RFC3339))
	}
	checks.Warn("way back", "There is no way back: %s %s revoked, and services have to ask for others.", counted(len(found)), map[bool]string{true: "is", false: "are"}[len(found) == 1])
	const name = "permission"
	switch allowed, err := i.conn.may(ctx, "sys/leases/revoke", "update"); {
	case ctx.Err() != nil:
		return driver.Planned{}, err
	case err != nil:
		checks.Unknown(name, "Vault did not say whether Backout may revoke leases.")
	case !allowed:
		checks.Block(name, "Backout may not revoke leases.")
	default:
		checks.Pass(name, "Backout may revoke leases.")
	}
	return driver.Planned{From: state(found), To: state(nil), ExpectedTime: leaseTime, WontRevert: slices.Clone(leaseWontRevert)}, nil
}
