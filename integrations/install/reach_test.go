package install_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/compensate/compensatetest"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/exec/exectest"
	"github.com/backout/backout/integrations/nats/natstest"
	"github.com/backout/backout/test/controlplane"
	fakegithub "github.com/backout/backout/test/fakes/github"
	fakepagerduty "github.com/backout/backout/test/fakes/pagerduty"
	realprom "github.com/backout/backout/test/prometheus"
)

// TestReach shows for each type of system that it can be asked whether it
// answers, and that one that is away or refuses the credential does not. The laws
// try that on systems with a kind of inverse too.
func TestReach(t *testing.T) {
	t.Parallel()
	token := func(content string) string {
		path := filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := l.Addr().String()
	require.NoError(t, l.Close())

	github, err := fakegithub.New(fakegithub.Config{Tokens: map[string]string{"good-token": "backout"}})
	require.NoError(t, err)
	t.Cleanup(github.Close)
	pager, err := fakepagerduty.New(fakepagerduty.Config{Token: "good-token"})
	require.NoError(t, err)
	t.Cleanup(pager.Close)
	prom, err := realprom.Start(t.Context(), realprom.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, prom.Close()) })
	bucket := natstest.Start(t, jetstream.KeyValueConfig{Bucket: "config", History: 2})
	plane := controlplane.Require(t)
	gone := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(gone, []byte("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: none}}]\nclusters: [{name: c, cluster: {server: \"http://"+nobody+"\"}}]\n"), 0o600))

	system := func(kind string, settings map[string]any) driver.System {
		return driver.System{Name: "it", Type: kind, Decode: drivertest.Settings(settings)}
	}
	named := func(s driver.System) driver.System {
		s.Name = "it"
		return s
	}
	service := compensatetest.Start(t)
	nameless := service.Host(service.Address(), drivertest.Owner)
	nameless["token_file"] = token("nobody-knows-this-token")
	releases := exectest.NewReleases(t)
	tests := []struct {
		name   string
		system driver.System
		denied bool
		ok     bool
	}{
		{"github", system("github", map[string]any{"url": github.URL(), "token_file": token("good-token")}), false, true},
		{"github with a bad token", system("github", map[string]any{"url": github.URL(), "token_file": token("bad-token")}), true, false},
		{"github away", system("github", map[string]any{"url": "http://" + nobody, "token_file": token("good-token")}), false, false},
		{"pagerduty", system("pagerduty", map[string]any{"url": pager.URL(), "token_file": token("good-token")}), false, true},
		{"pagerduty with a bad token", system("pagerduty", map[string]any{"url": pager.URL(), "token_file": token("bad-token")}), true, false},
		{"pagerduty away", system("pagerduty", map[string]any{"url": "http://" + nobody, "token_file": token("good-token")}), false, false},
		{"prometheus", system("prometheus", map[string]any{"url": prom.URL()}), false, true},
		{"prometheus away", system("prometheus", map[string]any{"url": "http://" + nobody}), false, false},
		{"nats", named(bucket.System(bucket.Address(), drivertest.Owner)), false, true},
		{"nats away", named(bucket.System(nobody, drivertest.Owner)), false, false},
		{"kubernetes", system("kubernetes", map[string]any{"kubeconfig": plane.Kubeconfig}), false, true},
		{"kubernetes away", system("kubernetes", map[string]any{"kubeconfig": gone}), false, false},
		{"http", named(service.System(service.Address(), drivertest.Owner)), false, true},
		{"http with a bad token", system("http", map[string]any{"hosts": map[string]any{"payments": nameless}}), true, false},
		{"http away", named(service.System(nobody, drivertest.Owner)), false, false},
		{"endpoint", system("endpoint", map[string]any{"url": prom.URL(), "networks": []string{"127.0.0.0/8"}}), false, true},
		{"endpoint away", system("endpoint", map[string]any{"url": "http://" + nobody, "networks": []string{"127.0.0.0/8"}}), false, false},
		{"exec", named(releases.System(drivertest.Owner)), false, true},
		{"exec without its program", system("exec", releases.Settings(drivertest.Owner, map[string]any{"program": gone + "-program"})), false, false},
	}
	tried := map[string]bool{}
	for _, c := range drivertest.Registered() {
		tried[driver.SystemOf(c.Kind)] = true
	}
	for _, tt := range tests {
		tried[tt.system.Type] = true
	}
	for _, kind := range driver.SystemTypes() {
		require.True(t, tried[kind], "nothing tries whether a system of type %q is reached", kind)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			set, err := driver.Open(ctx, []driver.System{tt.system})
			require.NoError(t, err, "a system that is away does not keep Backout from starting")
			t.Cleanup(func() { require.NoError(t, set.Close()) })
			err = set.Reach(ctx, "it")
			if tt.ok {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.NotContains(t, err.Error(), "-token")
			if tt.denied {
				require.ErrorIs(t, err, driver.ErrDenied)
			}
		})
	}
}
