package haproxy_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/haproxy/haproxytest"
	realhaproxy "github.com/backout/backout/test/haproxy"
	"github.com/backout/backout/workflows/incident"
)

const kind = "route.haproxy"

// connect opens a connection.
func connect(t *testing.T, system driver.System) (*driver.Set, driver.Inverse) {
	t.Helper()
	set, err := driver.Open(t.Context(), []driver.System{system})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	inverse, err := set.Inverse(kind, system.Name)
	require.NoError(t, err)
	return set, inverse
}

// plain is a connection without the extension.
func plain(address string) driver.System {
	return haproxytest.System(map[string]any{"address": "tcp://" + address})
}

func request(path, revision string) driver.PlanRequest {
	return driver.PlanRequest{Target: incident.Target{System: "edge", Path: path}, Revision: revision}
}

// planned makes the action that a revision leads to.
func planned(t *testing.T, inverse driver.Inverse, req driver.PlanRequest) incident.Action {
	t.Helper()
	p, err := inverse.Plan(t.Context(), req)
	require.NoError(t, err)
	require.False(t, p.Blocked(), "%v", p.Preflight)
	return incident.Action{Kind: kind, Target: req.Target, From: p.From, To: p.To, MaxTime: 10 * time.Second, OnFailure: incident.OnFailureStop, Reversible: p.Reversible}
}

// reasons are all that a plan says, one check a line.
func reasons(p driver.Planned) string {
	var text strings.Builder
	for _, c := range p.Preflight {
		fmt.Fprintf(&text, "%s %s: %s\n", c.Result, c.Name, c.Reason)
	}
	return text.String()
}

func TestWithoutTheExtension(t *testing.T) {
	t.Parallel()
	s := haproxytest.Start(t, realhaproxy.Admin, haproxytest.Sections)
	_, inverse := connect(t, plain(s.Address()))
	before, err := s.State(t.Context())
	require.NoError(t, err)
	there := planned(t, inverse, request("shop", "blue=0,green=40/drain,grey=7"))
	receipt, err := inverse.Apply(t.Context(), there, "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
	receipt, err = inverse.Apply(t.Context(), there, "key")
	require.NoError(t, err)
	require.False(t, receipt.Mutated, "applied twice")
	p, err := inverse.Plan(t.Context(), request("shop", "config"))
	require.NoError(t, err)
	require.Contains(t, reasons(p), "HAProxy has no compare-and-set without the extension")
	require.Equal(t, "config", p.To.Label)
	require.Equal(t, there.From.Digest, p.To.Digest, "the configuration file is where it began")
	_, err = driver.Execute(t.Context(), inverse, there.Swapped(), "other", driver.Hooks{BeforeApply: func(context.Context, driver.Observation) error { return nil }})
	require.NoError(t, err)
	after, err := s.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
	changes, err := s.Changes(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, changes)
}

// TestTheWindow shows what becomes of a change that arrives at each moment of a write
// that has no compare-and-set: it is in force in the end, always.
func TestTheWindow(t *testing.T) {
	t.Parallel()
	overwritten := 0
	for nth := 1; ; nth++ {
		s := haproxytest.Start(t, realhaproxy.Admin, haproxytest.Sections)
		proxy := drivertest.NewProxy(t, s.Address())
		_, inverse := connect(t, plain(proxy.Address()))
		action := planned(t, inverse, request("shop", "blue=0,green=100,grey=5/maint"))
		var failed error
		newer := ""
		proxy.Pause(nth, func() {
			if _, failed = s.Do(t.Context(), realhaproxy.Admin, "set server shop/blue weight 33; set server shop/grey state ready"); failed == nil {
				newer, failed = s.State(t.Context())
			}
		})
		receipt, err := inverse.Apply(t.Context(), action, "key")
		if !proxy.Disarm() {
			require.NoError(t, err)
			break
		}
		require.NoError(t, failed)
		var drift *driver.DriftError
		require.ErrorAs(t, err, &drift)
		require.False(t, receipt.Mutated)
		now, err := s.State(t.Context())
		require.NoError(t, err)
		require.Equal(t, newer, now, "the change of somebody else is not in force")
		if strings.Contains(drift.Difference, "put back") {
			overwritten++
			require.Contains(t, drift.Difference, "blue 33")
			require.Equal(t, "blue=33,green=0,grey=5", drift.Observed.Revision)
		}
	}
	require.Equal(t, 1, overwritten, "the write alone can overwrite")
}

func TestALevelThatIsTooLow(t *testing.T) {
	t.Parallel()
	for _, level := range []string{realhaproxy.User, realhaproxy.Operator} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			s := haproxytest.Start(t, level, haproxytest.Sections)
			set, inverse := connect(t, plain(s.Address()))
			require.ErrorIs(t, set.Reach(t.Context(), "edge"), driver.ErrDenied)
			p, err := inverse.Plan(t.Context(), request("shop", "blue=1,green=0,grey=5/maint"))
			require.NoError(t, err)
			require.Contains(t, reasons(p), fmt.Sprintf("blocked permission: Backout may not change the weights. The runtime socket is of level %q", level))
			admin := haproxytest.Start(t, realhaproxy.Admin, haproxytest.Sections)
			_, able := connect(t, plain(admin.Address()))
			_, err = inverse.Apply(t.Context(), planned(t, able, request("shop", "blue=1,green=0,grey=5/maint")), "key")
			require.ErrorIs(t, err, driver.ErrDenied)
			changes, err := s.Changes(t.Context())
			require.NoError(t, err)
			require.Zero(t, changes)
		})
	}
}

func TestWeightsThatTheAlgorithmDoesNotTake(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		system func(s *haproxytest.Server) driver.System
		plan   string
	}{
		{"with the extension", func(s *haproxytest.Server) driver.System { return s.System(s.Address(), drivertest.Owner) }, "blocked weights can change: The backend balances by static-rr"},
		{"without it", func(s *haproxytest.Server) driver.System { return plain(s.Address()) }, "unknown weights can change"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := haproxytest.Start(t, realhaproxy.Admin, haproxytest.Sections)
			_, inverse := connect(t, tt.system(s))
			p, err := inverse.Plan(t.Context(), request("still", "a=0,b=50"))
			require.NoError(t, err)
			require.Contains(t, reasons(p), tt.plan)
			before, err := s.State(t.Context())
			require.NoError(t, err)
			action := planned(t, inverse, request("still", "a=0,b=100"))
			action.To = incident.State{Revision: "a=0,b=50", Digest: incident.DigestOf([]byte("haproxy routes\x00a=0,b=50"))}
			_, err = inverse.Apply(t.Context(), action, "key")
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.ErrorContains(t, err, "static LB algorithm")
			after, err := s.State(t.Context())
			require.NoError(t, err)
			require.Equal(t, before, after, "half of the weights were left")
		})
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	s := haproxytest.Start(t, realhaproxy.User, fmt.Sprintf(`backend shop
  server up %[1]s weight 1 check inter 50 fall 1 rise 1
  server down 127.0.0.1:9 weight 0 check inter 50 fall 1 rise 1
  server off %[1]s weight 0 disabled
backend empty
`, listener.Addr()))
	require.Eventually(t, func() bool {
		answer, err := s.Ask(t.Context(), realhaproxy.User, "show stat")
		return err == nil && strings.Contains(answer, "DOWN")
	}, 20*time.Second, 10*time.Millisecond)
	system := haproxytest.System(map[string]any{
		"address": "tcp://" + s.Address(), "token_file": filepath.Join(s.Folder, "token"),
		"states": []map[string]string{{"name": "night", "target": "shop", "state": "up=9,down=0,off=0/maint"}},
	})
	_, inverse := connect(t, system)
	for _, tt := range []struct {
		name string
		req  driver.PlanRequest
		says string
	}{
		{"named state", request("shop", "night"), "ok revision exists: The settings have a state \"night\" of shop."},
		{"one server", request("shop/up", "up=3"), "ok not there already: The weights go from up 1 to up 3."},
		{"already there", request("shop", "config"), "blocked not there already"},
		{"no state", request("shop", "morning"), "blocked revision exists: \"morning\" is no state of shop"},
		{"not all servers", request("shop", "up=3"), "blocked servers exist: The wanted state says nothing about the server down, off."},
		{"other server", request("shop/up", "down=3"), "blocked servers exist: HAProxy does not have the server down any more."},
		{"nobody answers", request("shop", "up=0,down=5,off=0/maint"), "blocked servers answer: No server that would take the traffic answers its health check: down."},
		{"some answer", request("shop", "up=1,down=5,off=0/maint"), "warning servers answer: Health checks fail for down"},
		{"not checked", request("shop", "up=0,down=0,off=1"), "unknown servers answer: The health of off is not known"},
		{"no traffic", request("shop", "up=0,down=0,off=0/maint"), "warning servers answer: No server takes traffic"},
		{"no servers", request("empty", "a=1"), "blocked target exists"},
		{"no server", request("shop/none", "none=1"), "blocked target exists: HAProxy has no servers shop/none."},
		{"backend that is not given", request("other", "a=1"), "blocked target exists"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := inverse.Plan(t.Context(), tt.req)
			require.NoError(t, err)
			require.Contains(t, reasons(p), tt.says)
		})
	}
	_, err = inverse.Plan(t.Context(), driver.PlanRequest{Target: incident.Target{System: "edge", Path: "shop"}})
	require.ErrorIs(t, err, driver.ErrInvalid)
}

// TestBeforeWithoutTheExtension shows what is taken for history where there is none.
func TestBeforeWithoutTheExtension(t *testing.T) {
	t.Parallel()
	s := haproxytest.Start(t, realhaproxy.Admin, haproxytest.Sections)
	set, inverse := connect(t, plain(s.Address()))
	s.Set(t, "set server shop/blue weight 1")
	target := incident.Target{System: "edge", Path: "shop"}
	p, err := inverse.Plan(t.Context(), driver.PlanRequest{Target: target, Before: time.Now().Add(time.Minute)})
	require.NoError(t, err)
	require.Contains(t, reasons(p), "warning history: HAProxy keeps no history without the extension")
	require.Equal(t, "blue=100,green=0,grey=5/maint", p.To.Revision)
	p, err = inverse.Plan(t.Context(), driver.PlanRequest{Target: target, Before: time.Now().Add(-time.Minute)})
	require.NoError(t, err)
	require.Contains(t, reasons(p), "blocked history: HAProxy was started at")
	source, err := set.Source(kind, "edge")
	require.NoError(t, err)
	_, err = source.Changes(t.Context(), driver.ChangeQuery{Target: target})
	require.ErrorIs(t, err, driver.ErrInvalid, "no history is not no change")
}

func TestHistoryOfTheExtension(t *testing.T) {
	t.Parallel()
	s := haproxytest.Start(t, realhaproxy.User, haproxytest.Sections)
	set, inverse := connect(t, s.System(s.Address(), drivertest.Owner))
	at := s.Switch(t)
	action := planned(t, inverse, driver.PlanRequest{Target: incident.Target{System: "edge", Path: "shop"}, Before: at})
	_, err := inverse.Apply(t.Context(), action, "key")
	require.NoError(t, err)
	source, err := set.Source(kind, "edge")
	require.NoError(t, err)
	changes, err := source.Changes(t.Context(), driver.ChangeQuery{Service: "shop", Target: action.Target, Since: at, Until: time.Now().Add(time.Minute)})
	require.NoError(t, err)
	require.Len(t, changes, 2)
	require.Equal(t, at, changes[0].At)
	require.Equal(t, [2]string{"blue 100, green 0, grey 5 in maintenance", "blue 0, green 100, grey 5"}, [2]string{changes[0].From, changes[0].To})
	require.Equal(t, [2]string{"", "backout"}, [2]string{changes[0].Author, changes[1].Author})
	require.Equal(t, incident.ChangeTraffic, changes[0].Kind)
	of, err := source.Changes(t.Context(), driver.ChangeQuery{Target: incident.Target{System: "edge", Path: "shop/blue"}, Until: time.Now().Add(time.Minute)})
	require.NoError(t, err)
	require.Equal(t, "blue 0", of[0].To)

	// Somebody changes it back: the same action is not applied a second time.
	s.Set(t, "set server shop/green weight 100; set server shop/blue weight 0; set server shop/grey state ready")
	_, err = inverse.Apply(t.Context(), action, "key")
	var drift *driver.DriftError
	require.ErrorAs(t, err, &drift)
	require.Contains(t, drift.Difference, "changed it back")
	receipt, err := inverse.Apply(t.Context(), action, "another key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)
}

func TestExtensionIsNotLoaded(t *testing.T) {
	t.Parallel()
	s := realhaproxy.Start(t, func(folder string) (global, rest string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "token"), []byte("0123456789abcdef"), 0o600))
		return "", haproxytest.Sections
	})
	set, inverse := connect(t, haproxytest.System(map[string]any{"address": "unix:" + s.Socket(realhaproxy.Admin), "token_file": filepath.Join(s.Folder, "token")}))
	require.ErrorContains(t, set.Reach(t.Context(), "edge"), "has not loaded the extension")
	p, err := inverse.Plan(t.Context(), request("shop", "blue=1,green=0,grey=5/maint"))
	require.NoError(t, err)
	require.Contains(t, reasons(p), "blocked extension: HAProxy has not loaded the extension of Backout.")
}

// TestTLS connects to a runtime socket behind a frontend of the same HAProxy that asks
// for a client certificate.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "haproxy"}, DNSNames: []string{"haproxy"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	both := write("both.pem", append(append([]byte{}, certificate...), private...))
	files := map[string]string{"ca_file": write("cert.pem", certificate), "cert_file": filepath.Join(dir, "cert.pem"), "key_file": write("key.pem", private), "server_name": "haproxy"}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close()) // HAProxy takes it over.
	realhaproxy.Start(t, func(folder string) (global, rest string) {
		return "", haproxytest.Sections + fmt.Sprintf(`listen runtime
  mode tcp
  bind %s ssl crt %s ca-file %s verify required
  server admin unix@%s/admin.sock
`, address, both, files["ca_file"], folder)
	})
	set, inverse := connect(t, haproxytest.System(map[string]any{"address": "tls://" + address, "tls": files}))
	require.NoError(t, set.Reach(t.Context(), "edge"))
	receipt, err := inverse.Apply(t.Context(), planned(t, inverse, request("shop", "blue=1,green=0,grey=5/maint")), "key")
	require.NoError(t, err)
	require.True(t, receipt.Mutated)

	delete(files, "cert_file")
	delete(files, "key_file")
	set, _ = connect(t, haproxytest.System(map[string]any{"address": "tls://" + address, "tls": files}))
	require.ErrorIs(t, set.Reach(t.Context(), "edge"), driver.ErrDenied, "without a client certificate")
	delete(files, "ca_file")
	set, _ = connect(t, haproxytest.System(map[string]any{"address": "tls://" + address, "tls": files}))
	require.Error(t, set.Reach(t.Context(), "edge"), "with a server that nobody vouches for")
}
