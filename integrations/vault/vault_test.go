package vault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	_ "github.com/backout/backout/integrations/vault"
	"github.com/backout/backout/integrations/vault/vaulttest"
	"github.com/backout/backout/workflows/incident"
)

// connect opens a kind on a stand-in, at an address that may be a proxy's.
func connect(t *testing.T, w *vaulttest.World, kind, address string) driver.Inverse {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{w.System(address, drivertest.Owner)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse(kind, "vault")
	require.NoError(t, err)
	return inverse
}

func target(path string) incident.Target { return incident.Target{System: "vault", Path: path} }

// planned is the action of a plan that must not be blocked.
func planned(t *testing.T, inverse driver.Inverse, kind string, req driver.PlanRequest) (incident.Action, driver.Planned) {
	t.Helper()
	p, err := inverse.Plan(t.Context(), req)
	require.NoError(t, err)
	require.False(t, p.Blocked(), "%v", p.Preflight)
	return incident.Action{Kind: kind, Target: req.Target, From: p.From, To: p.To, MaxTime: 10 * time.Second, OnFailure: incident.OnFailureStop, Reversible: p.Reversible}, p
}

func execute(t *testing.T, inverse driver.Inverse, action incident.Action) (driver.Outcome, error) {
	t.Helper()
	return driver.Execute(t.Context(), inverse, action, "key", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
}

// TestEachLeaseIsRevokedOnce cuts the revocation of many leases at every point. Whoever
// continues revokes the rest, and nothing that was issued meanwhile.
func TestEachLeaseIsRevokedOnce(t *testing.T) {
	t.Parallel()
	partly := 0
	for nth := 1; ; nth++ {
		require.Less(t, nth, 64)
		w := vaulttest.Start(t)
		for n := range 5 {
			w.Issue(fmt.Sprintf("%srole/%d", vaulttest.Prefix, n), time.Hour)
		}
		proxy := drivertest.NewProxy(t, w.Address())
		inverse := connect(t, w, "vault.lease", proxy.Address())
		action, p := planned(t, inverse, "vault.lease", driver.PlanRequest{Target: target(vaulttest.Prefix), Revision: "revoked"})
		require.False(t, p.Reversible)
		require.Equal(t, "5 leases", action.From.Label)
		proxy.LoseResponse(nth)
		_, err := inverse.Apply(t.Context(), action, "key")
		if !proxy.Disarm() {
			require.NoError(t, err)
			break
		}
		if left := len(w.Leases(vaulttest.Prefix)); err != nil && left > 0 && left < 5 {
			partly++
		}
		_, err = execute(t, connect(t, w, "vault.lease", w.Address()), action)
		require.NoError(t, err, "a revocation that was cut off at %d was not continued", nth)
		require.Empty(t, w.Leases(vaulttest.Prefix))
		require.Len(t, w.Revocations(), 5)
		for id, times := range w.Revocations() {
			require.Equal(t, 1, times, "%s was revoked several times", id)
		}
	}
	require.Positive(t, partly, "no cut left a part: nothing was shown")
}

func TestLeasesThatWereIssuedMeanwhile(t *testing.T) {
	t.Parallel()
	w := vaulttest.Start(t)
	w.Issue(vaulttest.Prefix+"a", time.Hour)
	w.Issue(vaulttest.Prefix+"b", time.Hour)
	proxy := drivertest.NewProxy(t, w.Address())
	inverse := connect(t, w, "vault.lease", proxy.Address())
	action, _ := planned(t, inverse, "vault.lease", driver.PlanRequest{Target: target(vaulttest.Prefix), Revision: "revoked"})
	// The listing and two look-ups come first.
	proxy.Pause(4, func() { w.Issue(vaulttest.Prefix+"c", time.Hour) })
	receipt, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	require.Equal(t, []string{vaulttest.Prefix + "c"}, w.Leases(vaulttest.Prefix), "a lease that was issued meanwhile was revoked")
	_, err = execute(t, inverse, action)
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
}

func TestOneLease(t *testing.T) {
	t.Parallel()
	w := vaulttest.Start(t)
	w.Issue(vaulttest.Prefix+"a", time.Hour)
	w.Issue(vaulttest.Prefix+"b", time.Hour)
	inverse := connect(t, w, "vault.lease", w.Address())
	action, _ := planned(t, inverse, "vault.lease", driver.PlanRequest{Target: target(vaulttest.Prefix + "a"), Before: time.Now().Add(-time.Minute)})
	_, err := execute(t, inverse, action)
	require.NoError(t, err)
	require.Equal(t, []string{vaulttest.Prefix + "b"}, w.Leases(vaulttest.Prefix))
	_, err = inverse.Apply(t.Context(), action.Swapped(), "key")
	require.ErrorIs(t, err, driver.ErrInvalid, "a lease was brought back")
}

// TestLeaseChanges shows that the leases that live are told as changes, with no ID that
// could be used.
func TestLeaseChanges(t *testing.T) {
	t.Parallel()
	w := vaulttest.Start(t)
	w.Issue(vaulttest.Prefix+"abcdefghijkl", time.Hour)
	set, err := driver.Open(t.Context(), []driver.System{w.System(w.Address(), drivertest.Owner)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	source, err := set.Source("vault.leases", "vault")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "s", Target: target(vaulttest.Prefix), Since: time.Now().Add(-time.Minute), Until: time.Now()})
	require.NoError(t, err)
	require.Len(t, changes, 1)
	require.Equal(t, incident.ChangeAccess, changes[0].Kind)
	require.Equal(t, "lease "+vaulttest.Prefix+"abcdef... issued", changes[0].Summary)
	require.NotContains(t, fmt.Sprint(changes), "abcdefg")
}

func TestALeaseThatCanNotBeRevokedIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := vaulttest.Start(t)
	w.Issue(vaulttest.Prefix+"a", time.Hour)
	w.Issue(vaulttest.Prefix+"b", time.Hour)
	w.Stick(vaulttest.Prefix + "b")
	inverse := connect(t, w, "vault.lease", w.Address())
	action, _ := planned(t, inverse, "vault.lease", driver.PlanRequest{Target: target(vaulttest.Prefix), Revision: "revoked"})
	receipt, err := inverse.Apply(t.Context(), action, "key")
	require.ErrorContains(t, err, "revoke lease 2 of 2")
	require.False(t, driver.Final(err))
	require.True(t, receipt.Mutated, "what was revoked is not told beside the error")
}

func TestSecretBeforeAMoment(t *testing.T) {
	t.Parallel()
	w := vaulttest.Start(t)
	began := time.Now()
	var written []time.Time
	for n := range 3 {
		w.Put(vaulttest.Path, map[string]any{"n": n})
		// A moment between two versions, whatever the resolution of the clock.
		for written = append(written, time.Now()); !time.Now().After(written[n]); {
			runtime.Gosched()
		}
	}
	inverse := connect(t, w, "vault.kv", w.Address())
	for _, test := range []struct {
		name    string
		before  time.Time
		want    string
		blocked string
	}{
		{"before the newest", written[1].Add(1), "2", ""},
		{"before the second", written[0].Add(1), "1", ""},
		{"before the first", began, "", "do not reach back before"},
		{"now", time.Now().Add(time.Minute), "", "has the data of version 3 already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: target(vaulttest.Secret), Before: test.before})
			require.NoError(t, err)
			require.Equal(t, test.want, p.To.Revision, "%v", p.Preflight)
			if test.blocked != "" {
				require.True(t, p.Blocked())
				require.Contains(t, p.Preflight[len(p.Preflight)-1].Reason, test.blocked)
			}
		})
	}
}

// TestDigestsDoNotHelpToGuess shows that the state of a secret can not be worked out
// from a guess without the key.
func TestDigestsDoNotHelpToGuess(t *testing.T) {
	t.Parallel()
	data := map[string]any{"pin": "1234"}
	var digests []string
	for range 2 {
		w := vaulttest.Start(t)
		w.Put(vaulttest.Path, data)
		w.Put(vaulttest.Path, map[string]any{"pin": "9"})
		action, _ := planned(t, connect(t, w, "vault.kv", w.Address()), "vault.kv", driver.PlanRequest{Target: target(vaulttest.Secret), Revision: "1"})
		digests = append(digests, action.To.Digest)
	}
	require.NotEqual(t, digests[0], digests[1], "two keys give the same digest")
	plain, err := json.Marshal(data)
	require.NoError(t, err)
	for _, form := range []string{string(plain), "data\x00" + string(plain)} {
		require.NotContains(t, digests, incident.DigestOf([]byte(form)))
	}
}

func TestSecretThatWasWrittenAgain(t *testing.T) {
	t.Parallel()
	w := vaulttest.Start(t)
	w.Put(vaulttest.Path, map[string]any{"k": "good"})
	w.Put(vaulttest.Path, map[string]any{"k": "good"})
	w.Put(vaulttest.Path, map[string]any{"k": "bad"})
	inverse := connect(t, w, "vault.kv", w.Address())
	action, _ := planned(t, inverse, "vault.kv", driver.PlanRequest{Target: target(vaulttest.Secret), Revision: "1"})
	w.Destroy(vaulttest.Path, 1)
	_, err := execute(t, inverse, action)
	require.NoError(t, err, "the same data was not found in another version")
	data, _ := w.Secret(vaulttest.Path)
	require.Equal(t, map[string]any{"k": "good"}, data)
	w.Put(vaulttest.Path, map[string]any{"k": "bad"})
	w.Destroy(vaulttest.Path, 2)
	w.Destroy(vaulttest.Path, 4)
	_, err = inverse.Apply(t.Context(), action, "key")
	require.ErrorIs(t, err, driver.ErrNotFound)
}

func TestNoWayBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		spoil    func(w *vaulttest.World)
		way      bool
		says     string
		revision string
	}{
		{"versions are kept", func(*vaulttest.World) {}, true, "stays as it is", "1"},
		{"the oldest is removed", func(w *vaulttest.World) { w.Keep(vaulttest.Path, 2) }, true, "the oldest of them is removed", "1"},
		{"the newest is deleted", func(w *vaulttest.World) { w.Delete(vaulttest.Path, 2) }, false, "there is no way back", "1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := vaulttest.Start(t)
			w.Put(vaulttest.Path, map[string]any{"n": 1})
			w.Put(vaulttest.Path, map[string]any{"n": 2})
			test.spoil(w)
			inverse := connect(t, w, "vault.kv", w.Address())
			action, p := planned(t, inverse, "vault.kv", driver.PlanRequest{Target: target(vaulttest.Secret), Revision: test.revision})
			require.Equal(t, test.way, p.Reversible)
			require.Contains(t, fmt.Sprint(p.Preflight), test.says)
			_, err := execute(t, inverse, action)
			require.NoError(t, err)
		})
	}
}

func TestAwayAndDenied(t *testing.T) {
	t.Parallel()
	w := vaulttest.Start(t)
	w.Put(vaulttest.Path, map[string]any{"n": 1})
	w.Put(vaulttest.Path, map[string]any{"n": 2})
	set, err := driver.Open(t.Context(), []driver.System{w.System(w.Address(), drivertest.Owner)})
	require.NoError(t, err)
	require.NoError(t, set.Reach(t.Context(), "vault"))
	inverse, err := set.Inverse("vault.kv", "vault")
	require.NoError(t, err)
	w.Seal(true)
	_, err = inverse.Plan(t.Context(), driver.PlanRequest{Target: target(vaulttest.Secret), Revision: "1"})
	require.ErrorContains(t, err, "sealed")
	require.False(t, driver.Final(err))
	require.Error(t, set.Reach(t.Context(), "vault"))
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	token, key := file("token", "canary-token\n"), file("key", strings.Repeat("k", 32))
	for _, test := range []struct {
		name     string
		settings map[string]any
		says     string
	}{
		{"good", map[string]any{"url": "https://vault:8200", "token_file": token, "digest_key_file": key}, ""},
		{"no url", map[string]any{"token_file": token}, "url is malformed"},
		{"another scheme", map[string]any{"url": "unix:///x", "token_file": token}, "url is malformed"},
		{"a path", map[string]any{"url": "https://vault/ui", "token_file": token}, "url is malformed"},
		{"a credential in the url", map[string]any{"url": "https://a:canary-token@vault", "token_file": token}, "holds a credential"},
		{"no token", map[string]any{"url": "https://vault"}, "token_file is empty"},
		{"an empty token", map[string]any{"url": "https://vault", "token_file": file("empty", "\n")}, "does not hold one line"},
		{"a short key", map[string]any{"url": "https://vault", "token_file": token, "digest_key_file": file("short", "canary-token")}, "less than 32 characters"},
		{"no authority", map[string]any{"url": "https://vault", "token_file": token, "ca_file": key}, "holds no certificate"},
		{"an unknown setting", map[string]any{"url": "https://vault", "token_file": token, "tokn": "x"}, "unknown field"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			set, err := driver.Open(t.Context(), []driver.System{{Name: "vault", Type: "vault", Decode: drivertest.Settings(test.settings)}})
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

func TestTargets(t *testing.T) {
	t.Parallel()
	w := vaulttest.Start(t)
	for kind, paths := range map[string][]string{
		"vault.kv":    {"", "secret", "secret/", "/secret/a", "secret//a", "secret/../sys/x", "secret/a?version=1", "secret/a#b", "secret/a\n", "secret/%2e%2e/a"},
		"vault.lease": {"", "database", "database/", "/database/creds", "database//creds", "database/../sys", "database/creds?x"},
	} {
		inverse := connect(t, w, kind, w.Address())
		for _, path := range paths {
			_, err := inverse.Observe(t.Context(), incident.Action{Kind: kind, Target: target(path)})
			require.ErrorIs(t, err, driver.ErrInvalid, "%s takes %q", kind, path)
		}
	}
}
