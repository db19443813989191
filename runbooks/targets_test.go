package runbooks_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	parse := func(name, services string) *runbooks.Runbook {
		t.Helper()
		text := strings.NewReplacer("name: a,", "name: "+name+",", "services: [checkout]", "services: "+services).Replace(minimal)
		r, err := runbooks.ParseRunbook(runbooks.File{Name: name, Content: []byte(text)})
		require.NoError(t, err)
		return r
	}
	of := func(service string) runbooks.KindTarget {
		return runbooks.KindTarget{Kind: "nats.kv", Target: incident.Target{System: "nats", Path: "releases/" + service}}
	}
	for _, tt := range []struct {
		name  string
		books []*runbooks.Runbook
		kinds []string
		want  []runbooks.KindTarget
	}{
		{"a runbook of one service", []*runbooks.Runbook{parse("a", "[checkout]")}, []string{"nats.kv"}, []runbooks.KindTarget{of("checkout")}},
		{
			"a runbook of any service, and one of a service that has its own",
			[]*runbooks.Runbook{parse("a", `["*"]`), parse("b", "[checkout]")},
			[]string{"nats.kv"},
			[]runbooks.KindTarget{of("catalogue"), of("checkout"), of("payments"), of("storefront")},
		},
		{"two runbooks that name the same", []*runbooks.Runbook{parse("a", "[payments]"), parse("b", "[payments]")}, []string{"nats.kv"}, []runbooks.KindTarget{of("payments")}},
		{"other kinds", []*runbooks.Runbook{parse("a", "[checkout]")}, []string{"kubernetes.object"}, nil},
		{"no kinds", []*runbooks.Runbook{parse("a", "[checkout]")}, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := runbooks.Targets(tt.books, shop(t), tt.kinds)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}
