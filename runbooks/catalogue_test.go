package runbooks_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
)

func TestCatalogueReadsBackstage(t *testing.T) {
	t.Parallel()
	c := shop(t)
	got, ok := c.ByPagerDutyID("PCHECK")
	require.True(t, ok)
	require.Equal(t, runbooks.Service{
		Name: "checkout", Description: "Takes orders.", Owner: "orders", Lifecycle: "production", Type: "service",
		Workload: runbooks.WorkloadRevenue, PagerDutyID: "PCHECK", GitHubSlug: "shop/checkout", KubernetesID: "checkout-api",
		SlackChannel: "C0CHECKOUT", Owners: []string{"ada@example.com", "grace@example.com"},
		DependsOn: []string{"payments"}, Uses: []string{"orders-db"},
	}, got)
	_, ok = c.ByPagerDutyID("")
	require.False(t, ok, "a page without a service finds none")
	_, ok = c.ByPagerDutyID("PNONE")
	require.False(t, ok)
	_, ok = c.Service("gone")
	require.False(t, ok)
	s, _ := c.Service("catalogue")
	require.Equal(t, runbooks.WorkloadCustomerFacing, s.Workload, "no annotation")
	require.Len(t, c.Services(), 4)
	require.Contains(t, strings.Join(c.Notes(), "\n"), `kind "API" is not used`)
	require.Contains(t, strings.Join(c.Notes(), "\n"), `component "gone", which is not in the catalogue`)
	require.Equal(t, shop(t).Digest(), c.Digest())
}

func TestCatalogueDistances(t *testing.T) {
	t.Parallel()
	c := shop(t)
	require.Equal(t, []runbooks.Neighbour{
		{Name: "catalogue", Distance: 1, Via: "storefront"},
		{Name: "checkout", Distance: 1, Via: "storefront"},
		{Name: "payments", Distance: 2, Via: "checkout"},
	}, c.Dependencies("storefront"), "the cycle by way of payments ends")
	require.Equal(t, []runbooks.Neighbour{
		{Name: "checkout", Distance: 1, Via: "payments"},
		{Name: "storefront", Distance: 2, Via: "checkout"},
	}, c.Dependents("payments"))
	require.Empty(t, c.Dependencies("gone"))
}

func TestCatalogueSharedData(t *testing.T) {
	t.Parallel()
	c := shop(t)
	require.Equal(t, []runbooks.SharedStore{{Name: "orders-db", Users: []string{"checkout", "payments"}}}, c.SharedData("checkout"))
	require.Empty(t, c.SharedData("catalogue"), "a store of one service is not shared")
}

func TestCatalogueRefuses(t *testing.T) {
	t.Parallel()
	component := func(name, rest string) string {
		return "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: " + name + "\n" + rest
	}
	const spec = "spec: {type: service, lifecycle: production, owner: web}\n"
	for _, tt := range []struct{ name, in, want string }{
		{"two of one name", component("a", spec) + "---\n" + component("a", spec), `f:10:9: metadata.name: component "a" stands there twice`},
		{"two of one pager service", component("a", "  annotations: {pagerduty.com/service-id: P1}\n"+spec) + "---\n" + component("b", "  annotations: {pagerduty.com/service-id: P1}\n"+spec), `"P1" belongs to "a" already`},
		{"name that means something in a path", component("a/../b", spec), "metadata.name"},
		{"name that means something in a query", component(`'a"} or up{x="'`, spec), "metadata.name"},
		{"name in capitals", component("Checkout", spec), "metadata.name"},
		{"no owner", component("a", "spec: {type: service, lifecycle: production}\n"), `the key "owner" is missing`},
		{"no spec", component("a", ""), `the key "spec" is missing`},
		{"unknown tier", component("a", "  annotations: {backout.dev/tier: gold}\n"+spec), `unknown tier "gold"`},
		{"owner that is no address", component("a", "  annotations: {backout.dev/owners: ada}\n"+spec), `"ada" is not an e-mail address`},
		{"dependency of another namespace", component("a", "spec: {type: s, lifecycle: p, owner: w, dependsOn: ['component:other/b']}\n"), "only default is supported"},
		{"dependency on a group", component("a", "spec: {type: s, lifecycle: p, owner: w, dependsOn: ['group:default/b']}\n"), "neither a component nor a resource"},
		{"another tool's version", "apiVersion: v1\nkind: Component\nmetadata: {name: a}\n" + spec, "backstage.io/v1"},
		{"no kind", "metadata: {name: a}\n", `the key "kind" is missing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := runbooks.ParseCatalogue(runbooks.File{Name: "f", Content: []byte(tt.in)})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "f:")
		})
	}
}
