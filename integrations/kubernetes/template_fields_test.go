package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// diffed is a pod template with a version of every value in it: %[1]s is in what may be
// shown, CANARY%[1]s in what may not.
const diffed = `
metadata:
  labels: {app.kubernetes.io/version: v%[1]s}
  annotations: {checksum/config: CANARY%[1]s, port: "CANARY%[1]s"}
spec:
  serviceAccountName: shop-%[1]s
  nodeSelector: {disk: ssd%[1]s}
  aFieldOfTomorrow: CANARY%[1]s
  securityContext: {runAsUser: 100%[1]s}
  imagePullSecrets: [{name: registry-%[1]s}]
  initContainers:
  - {name: migrate, image: "migrate:%[1]s", args: [--password=CANARY%[1]s]}
  containers:
  - name: shop
    image: shop:%[1]s
    command: [sh, -c, CANARY%[1]s]
    env:
    - {name: PASSWORD, value: CANARY%[1]s}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: token-%[1]s, key: token}}}
    envFrom: [{secretRef: {name: env-%[1]s}}]
    ports: [{containerPort: 80, name: web-%[1]s}]
    resources: {limits: {memory: "%[1]s00Mi"}}
    readinessProbe: {periodSeconds: 1%[1]s, httpGet: {path: /ready%[1]s, port: 80, httpHeaders: [{name: Authorization, value: CANARY%[1]s}]}}
    livenessProbe: {httpGet: {path: "/live?token=CANARY%[1]s", port: 80}, exec: {command: [CANARY%[1]s]}}
    lifecycle: {preStop: {exec: {command: [CANARY%[1]s]}, sleep: {seconds: 2%[1]s}}}
  volumes:
  - {name: config, configMap: {name: config-%[1]s}}
  - {name: cache, emptyDir: {}}
  - {name: vault, csi: {driver: CANARY%[1]s, volumeAttributes: {token: CANARY%[1]s}}}
`

func templateFrom(t *testing.T, text string) template {
	t.Helper()
	var read template
	require.NoError(t, yaml.Unmarshal([]byte(text), &read))
	return read
}

func TestADiffShowsWhatChangedAndNoSecret(t *testing.T) {
	t.Parallel()
	from, to := templateFrom(t, fmt.Sprintf(diffed, "5")), templateFrom(t, fmt.Sprintf(diffed, "4"))
	require.Empty(t, flatten(from).changes(flatten(from)))
	require.Equal(t, []string{
		`~ metadata.annotations.port: another value (hidden)`,
		`~ metadata.annotations[checksum/config]: another value (hidden)`,
		`~ metadata.labels[app.kubernetes.io/version]: "v5", would be "v4"`,
		`~ spec.aFieldOfTomorrow: another value (hidden)`,
		`~ spec.containers[shop].command[2]: another value (hidden)`,
		`~ spec.containers[shop].envFrom[0].secretRef.name: "env-5", would be "env-4"`,
		`~ spec.containers[shop].env[PASSWORD].value: another value (hidden)`,
		`~ spec.containers[shop].env[TOKEN].valueFrom.secretKeyRef.name: "token-5", would be "token-4"`,
		`~ spec.containers[shop].image: "shop:5", would be "shop:4"`,
		`~ spec.containers[shop].lifecycle.preStop.exec.command[0]: another value (hidden)`,
		`~ spec.containers[shop].lifecycle.preStop.sleep.seconds: 25, would be 24`,
		`~ spec.containers[shop].livenessProbe.exec.command[0]: another value (hidden)`,
		`~ spec.containers[shop].livenessProbe.httpGet.path: another value (hidden)`,
		`+ spec.containers[shop].ports[web-4].containerPort: 80`,
		`+ spec.containers[shop].ports[web-4].name: "web-4"`,
		`- spec.containers[shop].ports[web-5].containerPort: 80`,
		`- spec.containers[shop].ports[web-5].name: "web-5"`,
		`~ spec.containers[shop].readinessProbe.httpGet.httpHeaders[Authorization].value: another value (hidden)`,
		`~ spec.containers[shop].readinessProbe.httpGet.path: "/ready5", would be "/ready4"`,
		`~ spec.containers[shop].readinessProbe.periodSeconds: 15, would be 14`,
		`~ spec.containers[shop].resources.limits.memory: "500Mi", would be "400Mi"`,
		`+ spec.imagePullSecrets[registry-4].name: "registry-4"`,
		`- spec.imagePullSecrets[registry-5].name: "registry-5"`,
		`~ spec.initContainers[migrate].args[0]: another value (hidden)`,
		`~ spec.initContainers[migrate].image: "migrate:5", would be "migrate:4"`,
		`~ spec.nodeSelector.disk: "ssd5", would be "ssd4"`,
		`~ spec.securityContext.runAsUser: 1005, would be 1004`,
		`~ spec.serviceAccountName: "shop-5", would be "shop-4"`,
		`~ spec.volumes[config].configMap.name: "config-5", would be "config-4"`,
		`~ spec.volumes[vault].csi.driver: another value (hidden)`,
		`~ spec.volumes[vault].csi.volumeAttributes.token: another value (hidden)`,
	}, flatten(from).changes(flatten(to)))

	// All that comes and goes keeps its secrets too.
	for _, lines := range [][]string{flatten(template{}).changes(flatten(to)), flatten(from).changes(flatten(template{}))} {
		text := strings.Join(lines, "\n")
		require.NotContains(t, text, "CANARY")
		require.Contains(t, text, "spec.containers[shop].env[PASSWORD].value: (hidden)")
		require.Contains(t, text, "spec.volumes[cache].emptyDir: {}")
	}
}

func TestItemsOfAListAreToldApart(t *testing.T) {
	t.Parallel()
	item := func(pairs ...any) any {
		members := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			members[pairs[i].(string)] = pairs[i+1]
		}
		return members
	}
	for _, test := range []struct {
		name  string
		items []any
		want  []string
	}{
		{name: "by name", items: []any{item("name", "a"), item("name", "b")}, want: []string{"a", "b"}},
		{name: "by path, with one name", items: []any{item("name", "a", "mountPath", "/x"), item("name", "a", "mountPath", "/y")}, want: []string{"/x", "/y"}},
		{name: "by number", items: []any{item("containerPort", int64(80)), item("containerPort", int64(81))}, want: []string{"80", "81"}},
		{name: "by place, one without a name", items: []any{item("name", "a"), item()}, want: []string{"0", "1"}},
		{name: "by place, all alike", items: []any{item("name", "a"), item("name", "a")}, want: []string{"0", "1"}},
		{name: "texts", items: []any{"--a", "--b"}, want: []string{"0", "1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, itemNames(test.items))
		})
	}
}
