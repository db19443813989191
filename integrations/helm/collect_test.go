package helm_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/helm/helmtest"
	"github.com/backout/backout/workflows/incident"
)

// TestValues captures what Helm knows of a release with two revisions.
func TestValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := version("1.0.0", config("a", "a: one")), version("2.0.0", config("a", "a: two"))
	first.Values, second.Values = map[string]any{"color": "red"}, map[string]any{"color": "green", "replicas": 2}
	w.Install(first)
	w.upgrade(t, second)
	collector, err := w.set.Collector("helm.values", "cluster")
	require.NoError(t, err)
	collect := func(params map[string]string, action incident.Action) (map[string]driver.Evidence, error) {
		docs, err := collector.Collect(t.Context(), driver.CollectRequest{Target: w.target(), Params: params, Action: action})
		found := map[string]driver.Evidence{}
		for _, d := range docs {
			found[d.Name] = d
		}
		return found, err
	}
	name := fmt.Sprintf("helm.values %s/%s", w.Namespace, helmtest.Name)

	found, err := collect(nil, incident.Action{Kind: "helm.release", From: incident.State{Revision: "2"}, To: incident.State{Revision: "1"}})
	require.NoError(t, err)
	require.Len(t, found, 4)
	var history []struct {
		Revision      int
		Status, Chart string
		At            time.Time
	}
	require.NoError(t, json.Unmarshal(found[name+" history"].Content, &history))
	require.Len(t, history, 2)
	require.Equal(t, "superseded", history[0].Status)
	require.Equal(t, "shop-2.0.0/v2.0.0", history[1].Chart)
	require.False(t, history[1].At.IsZero())
	require.YAMLEq(t, "{color: green, replicas: 2}", string(found[name].Content))
	values, manifest := found[name+" from 2 to 1"], found[name+" manifest from 2 to 1"]
	require.YAMLEq(t, "{color: green, replicas: 2}", string(values.From))
	require.YAMLEq(t, "{color: red}", string(values.Content))
	require.Contains(t, string(manifest.From), "a: two")
	require.Contains(t, string(manifest.Content), "a: one")

	found, err = collect(map[string]string{"from": "1", "to": "2"}, incident.Action{})
	require.NoError(t, err)
	require.Contains(t, found, name+" from 1 to 2")
	found, err = collect(nil, incident.Action{Kind: "kubernetes.workload", From: incident.State{Revision: "2"}})
	require.NoError(t, err)
	require.Len(t, found, 2, "nothing is compared that the plan does not go between")
	found, err = collect(map[string]string{"from": "1", "to": "9"}, incident.Action{})
	require.ErrorContains(t, err, "the history does not keep both of them")
	require.Len(t, found, 2, "what could be had is there")
	for _, wrong := range []map[string]string{{"from": "1"}, {"from": "1", "to": "0"}, {"from": "1", "to": "last"}, {"revision": "1"}} {
		_, err = collect(wrong, incident.Action{})
		require.ErrorIs(t, err, driver.ErrInvalid, wrong)
	}
	_, err = collector.Collect(t.Context(), driver.CollectRequest{Target: incident.Target{System: "cluster", Path: w.Namespace + "/gone"}})
	require.ErrorIs(t, err, driver.ErrNotFound)
}
