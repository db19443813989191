package etcd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/etcd"
	"github.com/backout/backout/integrations/etcd/etcdtest"
	"github.com/backout/backout/test/etcdstore"
	"github.com/backout/backout/workflows/incident"
)

const kind = "etcd.key"

// fixture is a place with one key that Backout may write.
type fixture struct {
	*etcdtest.Place
	set     *driver.Set
	inverse driver.Inverse
	key     string
	target  incident.Target
}

func newFixture(t *testing.T, s *etcdstore.Store) fixture {
	t.Helper()
	f := fixture{Place: etcdtest.NewPlace(t, s)}
	f.key = f.Prefix + "key"
	f.target = incident.Target{System: "store", Path: f.key}
	var err error
	f.set, err = driver.Open(t.Context(), []driver.System{f.System(f.Address, drivertest.Owner)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.set.Close()) })
	f.inverse, err = f.set.Inverse(kind, "store")
	require.NoError(t, err)
	return f
}

func (f fixture) plan(t *testing.T, req driver.PlanRequest) driver.Planned {
	t.Helper()
	req.Target = f.target
	p, err := f.inverse.Plan(t.Context(), req)
	require.NoError(t, err)
	return p
}

func (f fixture) back(t *testing.T, revision int64) incident.Action {
	t.Helper()
	p := f.plan(t, driver.PlanRequest{Revision: strconv.FormatInt(revision, 10)})
	require.False(t, p.Blocked(), "%v", p.Preflight)
	return incident.Action{Kind: kind, Target: f.target, From: p.From, To: p.To, MaxTime: 10 * time.Second, OnFailure: incident.OnFailureStop, Reversible: p.Reversible}
}

func (f fixture) run(t *testing.T, a incident.Action) error {
	t.Helper()
	_, err := driver.Execute(t.Context(), f.inverse, a, "key", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	return err
}

func (f fixture) value(t *testing.T) string {
	t.Helper()
	value, there, _, _, err := f.Get(t.Context(), f.key)
	require.NoError(t, err)
	if !there {
		return "none"
	}
	return value
}

// TestDeletedAndMadeAgain shows that a key goes back to a state in which it was not
// there, and from there to a life that it had before.
func TestDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, etcdstore.Require(t))
	first := f.MustPut(t, f.key, "v1")
	gone := f.Delete(t, f.key)
	f.MustPut(t, f.key, "v2")

	a := f.back(t, gone)
	require.Equal(t, incident.StateAbsent, a.To.Label)
	require.NoError(t, f.run(t, a))
	require.Equal(t, "none", f.value(t))
	require.NoError(t, f.run(t, a.Swapped()))
	require.Equal(t, "v2", f.value(t))
	a = f.back(t, first)
	require.Equal(t, "v1", a.To.Label)
	require.NoError(t, f.run(t, a))
	require.Equal(t, "v1", f.value(t))
}

// TestRevisionOfTheStore shows that any revision of the store stands for the write that
// was in force then, so that two spellings are one state.
func TestRevisionOfTheStore(t *testing.T) {
	t.Parallel()
	f := newFixture(t, etcdstore.Require(t))
	good := f.MustPut(t, f.key, "v1")
	later := f.Tick(t, f.Clock, time.Now())
	f.MustPut(t, f.key, "v2")
	require.Equal(t, f.back(t, good).To, f.back(t, later).To)
	require.Equal(t, strconv.FormatInt(good, 10), f.back(t, later).To.Revision)
}

func TestLeaseStays(t *testing.T) {
	t.Parallel()
	f := newFixture(t, etcdstore.Require(t))
	good := f.MustPut(t, f.key, "v1")
	lease := f.Grant(t)
	_, err := f.Put(t.Context(), f.key, "v2", lease)
	require.NoError(t, err)
	p := f.plan(t, driver.PlanRequest{Revision: strconv.FormatInt(good, 10)})
	require.Contains(t, fmt.Sprint(p.Preflight), "another lease")
	require.NoError(t, f.run(t, f.back(t, good)))
	_, _, _, attached, err := f.Get(t.Context(), f.key)
	require.NoError(t, err)
	require.Equal(t, lease, attached, "the key outlives what it stands for")
}

// TestCompaction shows what a compaction between plan and apply means.
func TestCompaction(t *testing.T) {
	t.Parallel()
	s := etcdstore.Own(t)
	f := newFixture(t, s)
	good := f.MustPut(t, f.key, "v1")
	f.MustPut(t, f.key, "v2")
	a := f.back(t, good)
	s.Compact(t, f.Tick(t, f.Clock, time.Now()))
	require.ErrorIs(t, f.run(t, a), driver.ErrNotFound)
	require.Equal(t, "v2", f.value(t))

	// The same value that was written again is as good.
	f.MustPut(t, f.key, "v1")
	f.MustPut(t, f.key, "v2")
	require.NoError(t, f.run(t, a))
	require.Equal(t, "v1", f.value(t))
}

// TestClock shows that moments are resolved by the clock, and that the moments of
// changes are those that a plan resolves.
func TestClock(t *testing.T) {
	t.Parallel()
	f := newFixture(t, etcdstore.Require(t))
	base := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	f.MustPut(t, f.key, "v0") // Before the first tick.
	f.Tick(t, f.Clock, base)
	f.MustPut(t, f.key, "v1")
	f.Tick(t, f.Clock, base.Add(10*time.Second))
	f.MustPut(t, f.key, "v2")
	f.MustPut(t, f.key, "v3") // In the same tick.
	f.Delete(t, f.key)
	f.Tick(t, f.Clock, base.Add(20*time.Second))
	f.MustPut(t, f.key, "v4")

	source, err := f.set.Source(kind, "store")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "s", Target: f.target, Since: base, Until: time.Now()})
	require.NoError(t, err)
	var told [][2]string
	for n, c := range changes {
		told = append(told, [2]string{c.From, c.To})
		if n > 0 {
			require.True(t, c.At.After(changes[n-1].At), "two changes are at the same moment")
		}
	}
	require.Equal(t, [][2]string{{"v0", "v1"}, {"v1", "v2"}, {"v2", "v3"}, {"v3", "absent"}, {"absent", "v4"}}, told)
	for _, n := range []int{0, 1, 2, 3} {
		p := f.plan(t, driver.PlanRequest{Before: changes[n+1].At})
		require.False(t, p.Blocked(), "%v", p.Preflight)
		require.Equal(t, changes[n].To, p.To.Label, "a plan before a change does not lead to what was before it")
	}
	p := f.plan(t, driver.PlanRequest{Before: base})
	require.True(t, p.Blocked())
	require.Contains(t, fmt.Sprint(p.Preflight), "do not reach back before")

	few, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "s", Target: f.target, Since: base.Add(15 * time.Second), Until: time.Now()})
	require.NoError(t, err)
	require.Len(t, few, 1)
	require.Equal(t, incident.StateAbsent, few[0].From)

	f.MustPut(t, f.Clock, "half past ten")
	p = f.plan(t, driver.PlanRequest{Before: time.Now().Add(time.Hour)})
	require.True(t, p.Blocked())
	require.Contains(t, fmt.Sprint(p.Preflight), "holds no time")
}

func TestPlanIsBlocked(t *testing.T) {
	t.Parallel()
	f := newFixture(t, etcdstore.Require(t))
	revision := f.MustPut(t, f.key, "v1")
	for _, test := range []struct{ name, revision, says string }{
		{"where it is", strconv.FormatInt(revision, 10), "already"},
		{"in the future", "99999999", "There is no revision"},
		{"no number", "v1", "is not a revision"},
		{"zero", "0", "is not a revision"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := f.plan(t, driver.PlanRequest{Revision: test.revision})
			require.True(t, p.Blocked())
			require.Contains(t, p.Preflight[len(p.Preflight)-1].Reason, test.says)
		})
	}
	other, err := f.inverse.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "store", Path: "/elsewhere/key"}, Revision: "1"})
	require.NoError(t, err)
	require.True(t, other.Blocked(), "a key that may not be read is offered")
	require.Contains(t, fmt.Sprint(other.Preflight), "may not read")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("canary-password"), 0o600))
	for _, test := range []struct {
		name     string
		settings map[string]any
		says     string
	}{
		{"good", map[string]any{"endpoints": []string{"http://a:2379", "http://b:2379"}, "user": "u", "password_file": file}, ""},
		{"with TLS", map[string]any{"endpoints": []string{"https://a:2379"}}, ""},
		{"no endpoint", map[string]any{}, "endpoints are empty"},
		{"an endpoint without a scheme", map[string]any{"endpoints": []string{"a:2379"}}, "is malformed"},
		{"a credential in an endpoint", map[string]any{"endpoints": []string{"http://u:canary-password@a"}}, "holds a credential"},
		{"with and without TLS", map[string]any{"endpoints": []string{"http://a", "https://b"}}, "http and https"},
		{"TLS settings without TLS", map[string]any{"endpoints": []string{"http://a"}, "tls": map[string]string{"ca_file": file}}, "the endpoints are http"},
		{"no authority", map[string]any{"endpoints": []string{"https://a"}, "tls": map[string]string{"ca_file": file}}, "holds no certificate"},
		{"half a certificate", map[string]any{"endpoints": []string{"https://a"}, "tls": map[string]string{"cert_file": file}}, "belong together"},
		{"a user without a password", map[string]any{"endpoints": []string{"http://a"}, "user": "u"}, "belong together"},
		{"an unknown setting", map[string]any{"endpoints": []string{"http://a"}, "pasword": "x"}, "unknown field"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			set, err := driver.Open(t.Context(), []driver.System{{Name: "store", Type: "etcd", Decode: drivertest.Settings(test.settings)}})
			if test.says == "" {
				require.NoError(t, err)
				require.NoError(t, set.Close())
				return
			}
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "canary")
		})
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	f := newFixture(t, etcdstore.Require(t))
	require.NoError(t, f.set.Reach(t.Context(), "store"))
	wrong := filepath.Join(t.TempDir(), "wrong")
	require.NoError(t, os.WriteFile(wrong, []byte("canary-wrong"), 0o600))
	set, err := driver.Open(t.Context(), []driver.System{{Name: "store", Type: "etcd", Decode: drivertest.Settings(map[string]any{
		"endpoints": []string{"http://" + f.Address}, "user": "root", "password_file": wrong,
	})}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	err = set.Reach(t.Context(), "store")
	require.ErrorIs(t, err, driver.ErrDenied)
	require.NotContains(t, err.Error(), "canary")
}
