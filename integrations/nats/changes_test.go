package nats

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func TestChanges(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	f.Put(t, testKey, "v1")
	f.Put(t, "other", "v9")
	write(t, f, "v2", "ada")
	f.Put(t, testKey, "password: hunter2hunter2")
	require.NoError(t, f.KV.Delete(t.Context(), testKey))
	history, err := f.KV.History(t.Context(), testKey)
	require.NoError(t, err)
	changes, err := f.set.Source(kind, "config")
	require.NoError(t, err)

	all := driver.ChangeQuery{Service: "checkout", Target: f.target, Since: history[0].Created(), Until: history[3].Created()}
	got, err := changes.Changes(t.Context(), all)
	require.NoError(t, err)
	want := []incident.Change{
		{ID: "config/shop/checkout@1", From: incident.StateAbsent, To: "v1", Summary: "shop/checkout set to revision 1 (v1)"},
		{ID: "config/shop/checkout@3", From: "v1", To: "v2", Author: "ada", Summary: "shop/checkout set to revision 3 (v2)"},
		{ID: "config/shop/checkout@4", From: "v2", To: "revision 4", Summary: "shop/checkout set to revision 4"},
		{ID: "config/shop/checkout@5", From: "revision 4", To: "deleted", Summary: "shop/checkout deleted"},
	}
	for n := range want {
		want[n].Source, want[n].Kind, want[n].Service, want[n].Target = "nats.kv", incident.ChangeConfig, "checkout", f.target
		want[n].At = history[n].Created().UTC()
	}
	require.Equal(t, want, got)

	middle := all
	middle.Kind, middle.Since, middle.Until = incident.ChangeDeploy, history[1].Created(), history[1].Created()
	got, err = changes.Changes(t.Context(), middle)
	require.NoError(t, err)
	require.Len(t, got, 1, "both ends of the window belong to it")
	require.Equal(t, incident.ChangeDeploy, got[0].Kind)
	require.Equal(t, "v1", got[0].From, "the state before the window is known")

	late := all
	late.Since, late.Until = history[3].Created().Add(time.Nanosecond), time.Now().Add(time.Hour)
	got, err = changes.Changes(t.Context(), late)
	require.NoError(t, err)
	require.Empty(t, got)

	missing := all
	missing.Target.Path = "config/none"
	got, err = changes.Changes(t.Context(), missing)
	require.NoError(t, err)
	require.Empty(t, got)

	malformed := all
	malformed.Target.Path = "config"
	_, err = changes.Changes(t.Context(), malformed)
	require.ErrorIs(t, err, driver.ErrInvalid)

	require.NoError(t, f.JetStream.DeleteKeyValue(t.Context(), f.Bucket))
	_, err = changes.Changes(t.Context(), all)
	require.ErrorIs(t, err, driver.ErrNotFound, "a bucket that is gone has not simply no changes")
}

func TestCollect(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	f.Put(t, testKey, "v1")
	f.Put(t, testKey, "password: hunter2hunter2")
	evidence, err := f.set.Collector(kind, "config")
	require.NoError(t, err)
	got, err := evidence.Collect(t.Context(), driver.CollectRequest{Target: f.target})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "nats.kv config/shop/checkout", got[0].Name)
	require.Equal(t, "application/json", got[0].MediaType)
	require.NotContains(t, string(got[0].Content), "hunter2")
	var document struct {
		Bucket, Key string
		Revisions   []capturedRevision
	}
	require.NoError(t, json.Unmarshal(got[0].Content, &document))
	require.Equal(t, "config", document.Bucket)
	require.Len(t, document.Revisions, 2)
	require.Equal(t, uint64(2), document.Revisions[0].Revision, "newest first")
	require.Equal(t, 24, document.Revisions[0].Bytes)
	require.Equal(t, "v1", document.Revisions[1].Label)

	_, err = evidence.Collect(t.Context(), driver.CollectRequest{Target: f.target, Params: map[string]string{"values": "true"}})
	require.ErrorIs(t, err, driver.ErrInvalid)
}
