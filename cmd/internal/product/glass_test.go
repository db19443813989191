package product

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/runbooks"
)

func TestUnwatchedBreakGlassIsSaid(t *testing.T) {
	t.Parallel()
	service := func(name, pager string) string {
		return "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: " + name + ", annotations: {" + pager + "}}\nspec: {type: service, lifecycle: production, owner: shop}\n---\n"
	}
	services, err := runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(service("checkout", "pagerduty.com/service-id: PCHECK"))})
	require.NoError(t, err)
	bare, err := runbooks.ParseCatalogue(runbooks.File{Name: "catalog-info.yaml", Content: []byte(service("checkout", ""))})
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join("..", "..", "..", "approvals", "policies", "default.yaml"))
	require.NoError(t, err)
	without, _, found := strings.Cut(string(content), "\nbreak_glass:")
	require.True(t, found)
	strict, err := approvals.ParsePolicy(approvals.File{Name: "policy.yaml", Content: []byte(without)})
	require.NoError(t, err)
	all := PagerDutyConfig{TokenFile: "token", SecurityService: "PSEC"}
	for _, tt := range []struct {
		name   string
		pager  PagerDutyConfig
		policy *approvals.Policy
		bare   bool
		want   []string
	}{
		{name: "everybody is paged", pager: all},
		{name: "no security", pager: PagerDutyConfig{TokenFile: "token"}, want: []string{"nobody from security would be paged"}},
		{name: "owners whom the catalogue does not name", pager: all, bare: true, want: []string{"the owners of checkout would not be paged"}},
		{name: "no pager", bare: true, want: []string{"nobody would be paged"}},
		{name: "no break-glass", policy: strict, bare: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rules := Rules{Catalogue: services, Policy: approvals.Default()}
			if tt.bare {
				rules.Catalogue = bare
			}
			if tt.policy != nil {
				rules.Policy = tt.policy
			}
			got := unwatched(Config{PagerDuty: tt.pager}, rules)
			require.Len(t, got, len(tt.want))
			for i, w := range tt.want {
				require.Contains(t, got[i], w)
			}
		})
	}
}
