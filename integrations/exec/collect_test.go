package exec

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/integrations/exec/exectest"
	"github.com/backout/backout/workflows/incident"
)

// TestCollect asks the sample for what it would keep.
func TestCollect(t *testing.T) {
	t.Parallel()
	r := exectest.NewReleases(t)
	for _, version := range []string{"v1", "v2"} {
		require.NoError(t, r.Deploy(version, "", "ada"))
	}
	set, err := driver.Open(t.Context(), []driver.System{r.System(drivertest.Reader)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, set.Close()) })
	c, err := set.Collector(collectKind, "releases")
	require.NoError(t, err)
	before, err := r.Changes(t.Context())
	require.NoError(t, err)
	req := driver.CollectRequest{Target: incident.Target{System: "releases", Path: r.Service}, From: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}
	docs, err := c.Collect(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, docs, 1)
	require.Equal(t, "exec.collect "+r.Service+" releases", docs[0].Name)
	require.Equal(t, "text/plain", docs[0].MediaType)
	require.Regexp(t, `(?s)^service checkout\n.*v1.*\n.*v2`, string(docs[0].Content))

	req.Params = map[string]string{"raw": "yes"}
	docs, err = c.Collect(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, docs, 2)
	require.Equal(t, "application/json", docs[1].MediaType)
	require.True(t, strings.HasPrefix(string(docs[1].Content), "{"), "it is decoded")
	after, err := r.Changes(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after, "nothing was changed")

	req.Target.Path = "nobody"
	_, err = c.Collect(t.Context(), req)
	require.ErrorIs(t, err, driver.ErrNotFound)
}

// TestCollectOfAHostileProgram shows that what is not as the schema says is no evidence,
// and that no secret of the program's becomes one.
func TestCollectOfAHostileProgram(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ mode, want string }{
		{"honest", ""},
		{"collects-its-secret", "holds a secret"},
		{"collects-its-secret-encoded", "holds a secret"},
		{"collects-no-base64", "a document is not base64"},
		{"collects-twice", "does not match the schema"},
		{"collects-a-page", "does not match the schema"},
		{"collects-nothing", "the program found nothing"},
		{"collects-without-end", "wrote more than 1048576 bytes"},
		{"error-with-secret", "holds a secret"},
		{"other-verb", "is to another verb"},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t, test.mode, nil)
			docs, err := collector{h.inverse.program}.Collect(t.Context(), driver.CollectRequest{Target: hostileAction().Target, From: time.Now().Add(-time.Hour), Until: time.Now()})
			if test.want == "" {
				require.NoError(t, err)
				require.Equal(t, "as the file says", string(docs[0].Content))
				return
			}
			require.ErrorContains(t, err, test.want)
			require.Empty(t, docs)
		})
	}
}

func TestCollectRefusals(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "honest", nil)
	many := map[string]string{}
	for n := range maxParams + 1 {
		many[strings.Repeat("a", n+1)] = "b"
	}
	for _, test := range []struct {
		name, path string
		params     map[string]string
		want       string
	}{
		{"a way up", "../a", nil, "parse target"},
		{"many parameters", "a", many, "more than 20 parameters"},
		{"a long parameter", "a", map[string]string{"a": strings.Repeat("b", maxParam+1)}, "longer than 4000 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := collector{h.inverse.program}.Collect(t.Context(), driver.CollectRequest{Target: incident.Target{System: "s", Path: test.path}, Params: test.params})
			require.ErrorIs(t, err, driver.ErrInvalid)
			require.ErrorContains(t, err, test.want)
		})
	}
}
