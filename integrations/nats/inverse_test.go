package nats

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/nats/natstest"
	"github.com/backout/backout/workflows/incident"
)

const testKey = "shop/checkout"

// fixture is a bucket on a server of its own, with a connection as Owner.
type fixture struct {
	*natstest.Server
	set     *driver.Set
	inverse driver.Inverse
	target  incident.Target
}

func newFixture(t *testing.T, bucket jetstream.KeyValueConfig) fixture {
	t.Helper()
	if bucket.Bucket == "" {
		bucket.Bucket = "config"
	}
	s := natstest.Start(t, bucket)
	set, inverse := connect(t, s.System(s.Address(), drivertest.Owner))
	return fixture{Server: s, set: set, inverse: inverse, target: incident.Target{System: "config", Path: bucket.Bucket + "/" + testKey}}
}

func connect(t *testing.T, system driver.System) (*driver.Set, driver.Inverse) {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{system})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse(kind, system.Name)
	require.NoError(t, err)
	return set, inverse
}

func (f fixture) plan(t *testing.T, revision uint64) incident.Action {
	t.Helper()
	planned, err := f.inverse.Plan(t.Context(), driver.PlanRequest{Target: f.target, Revision: strconv.FormatUint(revision, 10)})
	require.NoError(t, err)
	require.False(t, planned.Blocked(), "%v", planned.Preflight)
	return f.action(planned.From, planned.To)
}

func (f fixture) action(from, to incident.State) incident.Action {
	return incident.Action{Kind: kind, Target: f.target, From: from, To: to, MaxTime: 10 * time.Second, OnFailure: incident.OnFailureStop, Reversible: true}
}

func (f fixture) value(t *testing.T) string {
	t.Helper()
	e, err := f.KV.Get(t.Context(), testKey)
	require.NoError(t, err)
	return string(e.Value())
}

func TestApplyWritesTheOldValue(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	f.Put(t, testKey, "v1")
	f.Put(t, "other", "untouched")
	f.Put(t, testKey, "v2")
	action := f.plan(t, 1)
	require.Equal(t, incident.State{Revision: "3", Digest: incident.DigestOf([]byte("value\x00v2")), Label: "v2"}, action.From)
	require.Equal(t, incident.State{Revision: "1", Digest: incident.DigestOf([]byte("value\x00v1")), Label: "v1"}, action.To)

	receipt, err := f.inverse.Apply(t.Context(), action, "key-1")
	require.NoError(t, err)
	require.Equal(t, driver.Receipt{Mutated: true, Detail: "revision 4 written with the value of revision 1"}, receipt)
	require.Equal(t, "v1", f.value(t))
	other, err := f.KV.Get(t.Context(), "other")
	require.NoError(t, err)
	require.Equal(t, uint64(2), other.Revision())

	stream, err := f.JetStream.Stream(t.Context(), "KV_config")
	require.NoError(t, err)
	raw, err := stream.GetMsg(t.Context(), 4)
	require.NoError(t, err)
	require.Equal(t, "backout", raw.Header.Get("Author"))
	require.Equal(t, "key-1", raw.Header.Get("Backout-Key"))
}

func TestApplyToAndFromADeletedKey(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		remove func(ctx context.Context, kv jetstream.KeyValue) error
	}{
		{"deleted", func(ctx context.Context, kv jetstream.KeyValue) error { return kv.Delete(ctx, testKey) }},
		{"purged", func(ctx context.Context, kv jetstream.KeyValue) error { return kv.Purge(ctx, testKey) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, jetstream.KeyValueConfig{History: 5})
			f.Put(t, testKey, "v1")
			require.NoError(t, test.remove(t.Context(), f.KV))
			f.Put(t, testKey, "v2")
			action := f.plan(t, 2)
			require.Equal(t, "deleted", action.To.Label)

			_, err := f.inverse.Apply(t.Context(), action, "key-1")
			require.NoError(t, err)
			_, err = f.KV.Get(t.Context(), testKey)
			require.ErrorIs(t, err, jetstream.ErrKeyNotFound)
			_, err = f.KV.GetRevision(t.Context(), testKey, 3)
			require.NoError(t, err, "the history was purged")

			_, err = f.inverse.Apply(t.Context(), action.Swapped(), "key-2")
			require.NoError(t, err)
			require.Equal(t, "v2", f.value(t))
		})
	}
}

// TestApplyToAKeyWithoutRevisions restores a key whose delete marker was swept
// away after the plan: a key that is absent is in the same state as one that was
// deleted.
func TestApplyToAKeyWithoutRevisions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	require.NoError(t, f.KV.Delete(t.Context(), testKey))
	f.Put(t, testKey, "v2")
	action := f.plan(t, 1)
	_, err := f.inverse.Apply(t.Context(), action, "key-1")
	require.NoError(t, err)
	require.NoError(t, f.KV.PurgeDeletes(t.Context(), jetstream.DeleteMarkersOlderThan(-1)))

	seen, err := f.inverse.Observe(t.Context(), action)
	require.NoError(t, err)
	require.Equal(t, action.To.Digest, seen.State.Digest)
	require.Equal(t, "0", seen.State.Revision)
	receipt, err := f.inverse.Apply(t.Context(), action, "key-1")
	require.NoError(t, err)
	require.False(t, receipt.Mutated)
	_, err = f.inverse.Apply(t.Context(), action.Swapped(), "key-2")
	require.ErrorIs(t, err, driver.ErrNotFound, "the way back went with the history")
}

func TestApplyWhenTheRevisionHasLeftTheHistory(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		// meanwhile is written between plan and apply, and the present value again.
		meanwhile string
		err       error
	}{
		{"with its value", "something else", driver.ErrNotFound},
		{"and its value was written again", "v1", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, jetstream.KeyValueConfig{History: 2})
			f.Put(t, testKey, "v1")
			f.Put(t, testKey, "v2")
			action := f.plan(t, 1)
			f.Put(t, testKey, test.meanwhile)
			f.Put(t, testKey, "v2")

			receipt, err := f.inverse.Apply(t.Context(), action, "key-1")
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.err == nil, receipt.Mutated)
			want := map[bool]string{true: "v1", false: "v2"}[test.err == nil]
			require.Equal(t, want, f.value(t))
		})
	}
}

func TestApplyRefusesToFight(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 8})
	f.Put(t, testKey, "v1")
	f.Put(t, testKey, "v2")
	action := f.plan(t, 1)
	_, err := f.inverse.Apply(t.Context(), action, "key-1")
	require.NoError(t, err)
	f.Put(t, testKey, "v2")

	receipt, err := f.inverse.Apply(t.Context(), action, "key-1")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "changed it back after this very action was applied")
	require.False(t, receipt.Mutated)
	require.Equal(t, "v2", f.value(t))

	_, err = f.inverse.Apply(t.Context(), action, "another-key")
	require.NoError(t, err, "another action may go there again")
	require.Equal(t, "v1", f.value(t))
}

func TestExplainLostCompareAndSet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		found string
		drift bool
		err   error
	}{
		{"somebody wrote what was wanted", "v1", false, nil},
		{"somebody wrote something else", "v3", true, nil},
		{"somebody wrote the same as before", "v2", false, errMoved},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, jetstream.KeyValueConfig{History: 5})
			f.Put(t, testKey, "v1")
			f.Put(t, testKey, "v2")
			action := f.plan(t, 1)
			conn := f.inverse.(inverse).conn
			at := location{"config", testKey}
			f.Put(t, testKey, test.found)
			_, err := conn.put(t.Context(), at, entry{value: []byte("v1")}, 2)
			require.ErrorIs(t, err, errMoved)
			require.Equal(t, test.found, f.value(t), "a write that lost has overwritten")

			receipt, err := inverse{conn}.explain(t.Context(), at, action)
			require.False(t, receipt.Mutated)
			var drift *driver.DriftError
			if test.drift {
				require.ErrorAs(t, err, &drift)
				return
			}
			require.ErrorIs(t, err, test.err)
			if err != nil {
				require.False(t, driver.Final(err), "it is tried again")
			}
		})
	}
}

func TestDriftNamesWhoAndWhenAndNoContent(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	f.Put(t, testKey, "v1")
	f.Put(t, testKey, "v2")
	action := f.plan(t, 1)
	write(t, f, "password: hunter2hunter2", "ada\x07@example.org")

	_, err := f.inverse.Apply(t.Context(), action, "key-1")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Regexp(t, `^revision 3 was written at \S+Z by ada@example\.org$`, drift.Difference)
	require.NotContains(t, err.Error(), "hunter2")
}

// write puts a value with an author, as a pipeline that sets the header does.
func write(t *testing.T, f fixture, value, author string) {
	t.Helper()
	msg := newMessage("$KV."+f.Bucket+"."+testKey, value)
	msg.Header.Set("Author", author)
	_, err := f.JetStream.PublishMsg(t.Context(), msg)
	require.NoError(t, err)
}

func TestActionsThatCanNotBeUnderstood(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	f.Put(t, testKey, "v1")
	f.Put(t, testKey, "v2")
	good := f.plan(t, 1)
	for _, test := range []struct {
		name  string
		spoil func(a *incident.Action)
	}{
		{"no key", func(a *incident.Action) { a.Target.Path = "config" }},
		{"empty bucket", func(a *incident.Action) { a.Target.Path = "/key" }},
		{"wildcard", func(a *incident.Action) { a.Target.Path = "config/>" }},
		{"other subject", func(a *incident.Action) { a.Target.Path = "con.fig/key" }},
		{"key ends in a dot", func(a *incident.Action) { a.Target.Path = "config/key." }},
		{"wanted revision is no number", func(a *incident.Action) { a.To.Revision = "previous" }},
		{"wanted revision is zero", func(a *incident.Action) { a.To.Revision = "0" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			action := good
			test.spoil(&action)
			receipt, err := f.inverse.Apply(t.Context(), action, "key-1")
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.False(t, receipt.Mutated)
			require.Equal(t, "v2", f.value(t))
		})
	}
}

func TestObserveOfAMissingBucketIsFinal(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	f.Put(t, testKey, "v1")
	f.Put(t, testKey, "v2")
	action := f.plan(t, 1)
	require.NoError(t, f.JetStream.DeleteKeyValue(t.Context(), f.Bucket))
	_, err := f.inverse.Observe(t.Context(), action)
	require.ErrorIs(t, err, driver.ErrNotFound)
	_, err = f.inverse.Apply(t.Context(), action, "key-1")
	require.ErrorIs(t, err, driver.ErrNotFound)
}

func TestRewrittenValueIsNoDrift(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	f.Put(t, testKey, "v1")
	f.Put(t, testKey, "v2")
	action := f.plan(t, 1)
	f.Put(t, testKey, "v2")
	out, err := driver.Execute(t.Context(), f.inverse, action, "key-1", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	require.NoError(t, err)
	require.True(t, out.Applied)
	require.Equal(t, "v1", f.value(t))
}

func TestLabels(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, value, want string }{
		{"version", "v42", "v42"},
		{"dotted version", "1.2.3", "1.2.3"},
		{"candidate", "v1.2.3-rc.1", "v1.2.3-rc.1"},
		{"bare number", "1234", ""},
		{"word", "hunter2", ""},
		{"token", "ghp_0123456789abcdef", ""},
		{"key", "v4.local.Zm9v", ""},
		{"version and more", "v42\npassword", ""},
		{"line break", "v42\n", ""},
		{"too long", "v12345678.12345678.12345678.12345678-alpha.1234", ""},
		{"document", `{"version":"v42"}`, ""},
		{"empty", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			want := test.want
			if want == "" {
				want = "revision 7"
			}
			require.Equal(t, want, entry{revision: 7, value: []byte(test.value)}.label())
		})
	}
}

func TestDigestsDoNotCollide(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, e := range map[string]entry{
		"deleted":           {revision: 1, deleted: true},
		"empty":             {revision: 1},
		"the word deleted":  {revision: 1, value: []byte("deleted")},
		"another value":     {revision: 1, value: []byte("value\x00")},
		"yet another value": {revision: 1, value: []byte("value\x00deleted")},
	} {
		require.True(t, incident.ValidDigest(e.digest()))
		require.Empty(t, seen[e.digest()], "%s has the digest of %s", name, seen[e.digest()])
		seen[e.digest()] = name
	}
	require.Equal(t, absent.digest(), entry{revision: 9, deleted: true}.digest())
}
