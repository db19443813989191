package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// kind is the name of the inverse, and of the change source and the collector
// beside it.
const kind = "etcd.key"

func init() {
	driver.RegisterInverse(driver.Descriptor{
		Kind:       kind,
		System:     systemType,
		Layer:      "configuration",
		TargetForm: keyForm,
		Reversible: true,
		WontRevert: wontRevert,
		Permission: "etcdctl role grant-permission backout readwrite <key>; etcdctl role grant-permission backout read <clock_key>",
	}, func(c *connection) driver.Inverse { return inverse{c} })
}

// wontRevert lists what stays as it is.
var wontRevert = []string{
	"other keys, also those that were written in the same transaction",
	"the lease of the key: it stays attached to the one that it has now, or to none",
	"what services did while they used the value",
}

// inverse takes a key back to a revision of the store's history.
type inverse struct{ conn *connection }

// Observe reads the present value. A key is settled at once.
func (i inverse) Observe(ctx context.Context, action incident.Action) (driver.Observation, error) {
	key, err := parseKey(action.Target)
	if err != nil {
		return driver.Observation{}, err
	}
	present, _, err := i.conn.at(ctx, key, 0)
	if err != nil {
		return driver.Observation{}, fmt.Errorf("observe %s: %w", action.Target, err)
	}
	return driver.Observation{State: present.state(), Settled: true, Detail: present.detail()}, nil
}

// Apply writes the value of action.To as a new revision, if the key still has the
// modification revision that it finds there.
func (i inverse) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	key, err := parseKey(action.Target)
	if err != nil {
		return driver.Receipt{}, err
	}
	receipt, err := i.apply(ctx, key, action)
	if err != nil {
		return receipt, fmt.Errorf("apply to %s: %w", action.Target, err)
	}
	return receipt, nil
}

// errMoved means that the key has another modification revision than was observed.
var errMoved = errors.New("the key was written meanwhile")

func (i inverse) apply(ctx context.Context, key string, action incident.Action) (driver.Receipt, error) {
	present, _, err := i.conn.at(ctx, key, 0)
	if err != nil {
		return driver.Receipt{}, err
	}
	if done, err := compare(present, action); done || err != nil {
		return driver.Receipt{Detail: "the value was there already"}, err
	}
	wanted, err := i.wanted(ctx, key, action.To)
	if err != nil {
		return driver.Receipt{}, err
	}
	written, found, err := i.conn.put(ctx, key, present, wanted)
	switch {
	case err != nil:
		return driver.Receipt{}, err
	case written > 0:
		return driver.Receipt{Mutated: true, Detail: fmt.Sprintf("revision %d written with the value of revision %s", written, action.To.Revision)}, nil
	}
	if done, err := compare(found, action); done || err != nil {
		return driver.Receipt{Detail: "the value was written by another writer"}, err
	}
	return driver.Receipt{}, errMoved // "from" was written once more: the next try sees it.
}

// compare is done when the key is at "to", and a *driver.DriftError when it is at
// neither.
func compare(present entry, action incident.Action) (done bool, err error) {
	switch present.digest() {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: present.state(), Difference: present.detail()}
}

// wanted reads the value of a state again from the history and checks it.
func (i inverse) wanted(ctx context.Context, key string, state incident.State) (entry, error) {
	if none := (entry{}); state.Digest == none.digest() {
		return none, nil
	}
	revision, err := strconv.ParseInt(state.Revision, 10, 64)
	if err != nil || revision <= 0 {
		return entry{}, fmt.Errorf("read revision %q: %w", printable(state.Revision, maxLabel), driver.ErrInvalid)
	}
	e, _, err := i.conn.at(ctx, key, revision)
	if err == nil && e.digest() == state.Digest {
		return e, nil
	}
	if err != nil && !errors.Is(err, errCompacted) && !errors.Is(err, errFuture) {
		return entry{}, err
	}
	// The same value may have been written again since.
	events, _, err := i.conn.events(ctx, key, 1)
	if err != nil {
		return entry{}, err
	}
	for _, e := range slices.Backward(events) {
		if e.digest() == state.Digest {
			return e, nil
		}
	}
	return entry{}, fmt.Errorf("find revision %s (%s) in the history: %w", printable(state.Revision, maxLabel), incident.ShortDigest(state.Digest), driver.ErrNotFound)
}

// put writes an entry if the key is still at another one. It returns the revision of
// the write, or 0 and what is there instead.
func (c *connection) put(ctx context.Context, key string, present, wanted entry) (written int64, found entry, err error) {
	name := []byte(key)
	write := &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: name, Value: wanted.value, IgnoreLease: present.lease != 0}}}
	if !wanted.there {
		write = &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: name}}}
	}
	request := &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: name, Target: pb.Compare_MOD, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: present.modified()},
		}},
		Success: []*pb.RequestOp{write},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: name}}}},
	}
	var answer *pb.TxnResponse
	err = c.call(ctx, func(ctx context.Context) (err error) {
		answer, err = pb.NewKVClient(c.client).Txn(ctx, request)
		return err
	})
	if err != nil {
		return 0, entry{}, err
	}
	revision := answer.Header.GetRevision()
	if answer.Succeeded {
		return revision, entry{}, nil
	}
	found = entry{revision: revision}
	if len(answer.Responses) == 1 {
		if kvs := answer.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			found = entryOf(kvs[0])
		}
	}
	return 0, found, nil
}
