package nats

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/drivertest"
	"github.com/backout/backout/workflows/incident"
)

// check finds a check of a plan.
func check(t *testing.T, planned driver.Planned, name string) incident.Preflight {
	t.Helper()
	for _, c := range planned.Preflight {
		if c.Name == name {
			return c
		}
	}
	require.Failf(t, "check is missing", "%q in %v", name, planned.Preflight)
	return incident.Preflight{}
}

func TestPlanBeforeAMoment(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 3})
	for _, value := range []string{"v1", "v2", "v3", "v4"} {
		f.Put(t, testKey, value)
	}
	written := map[string]time.Time{}
	history, err := f.KV.History(t.Context(), testKey)
	require.NoError(t, err)
	for _, e := range history {
		written[string(e.Value())] = e.Created()
	}
	for _, test := range []struct {
		name    string
		before  time.Time
		want    string
		blocked string
	}{
		{"just before the newest", written["v4"], "v3", ""},
		{"between two", written["v4"].Add(-time.Nanosecond), "v3", ""},
		{"just before the second", written["v3"], "v2", ""},
		{"just after the second", written["v3"].Add(time.Nanosecond), "v3", ""},
		{"now", time.Now().Add(time.Minute), "", "The key shop/checkout has the value of revision 4 (v4) already."},
		{"before what is kept", written["v2"], "", "does not reach back before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			planned, err := f.inverse.Plan(t.Context(), driver.PlanRequest{Target: f.target, Before: test.before})
			require.NoError(t, err)
			require.Equal(t, test.blocked != "", planned.Blocked(), "%v", planned.Preflight)
			require.Equal(t, test.want, planned.To.Label)
			if test.blocked != "" {
				last := planned.Preflight[len(planned.Preflight)-1]
				require.Equal(t, incident.PreflightBlocked, last.Result)
				require.Contains(t, last.Reason, test.blocked)
			}
		})
	}
}

func TestPlanPreflight(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		bucket  jetstream.KeyValueConfig
		arrange func(t *testing.T, f fixture)
		request driver.PlanRequest
		check   string
		want    incident.PreflightResult
		reason  string
	}{
		{
			name: "bucket is missing", request: driver.PlanRequest{Revision: "1", Target: incident.Target{Path: "config2/" + testKey}},
			check: "permission", want: incident.PreflightBlocked, reason: "Backout may not read the bucket config2.",
		},
		{
			name: "bucket was removed", request: driver.PlanRequest{Revision: "1"},
			arrange: func(t *testing.T, f fixture) { require.NoError(t, f.JetStream.DeleteKeyValue(t.Context(), f.Bucket)) },
			check:   "bucket exists", want: incident.PreflightBlocked, reason: "The bucket config does not exist.",
		},
		{
			name: "key is missing", request: driver.PlanRequest{Revision: "1", Target: incident.Target{Path: "config/none"}},
			check: "key exists", want: incident.PreflightBlocked, reason: "The bucket config has no revision of the key none.",
		},
		{
			name: "revision is of another key", request: driver.PlanRequest{Revision: "3"},
			arrange: func(t *testing.T, f fixture) { f.Put(t, "other", "v1") },
			check:   "revision exists", want: incident.PreflightBlocked, reason: "Revision 3 is not in the history of shop/checkout, which keeps 2 from revision 1 to 2.",
		},
		{
			name: "revision is no number", request: driver.PlanRequest{Revision: "previous"},
			check: "revision exists", want: incident.PreflightBlocked, reason: `"previous" is not a revision: revisions of a key are whole numbers.`,
		},
		{
			name: "revision is zero", request: driver.PlanRequest{Revision: "0"},
			check: "revision exists", want: incident.PreflightBlocked, reason: `"0" is not a revision: revisions of a key are whole numbers.`,
		},
		{
			name: "already there", request: driver.PlanRequest{Revision: "1"},
			arrange: func(t *testing.T, f fixture) { f.Put(t, testKey, "v1") },
			check:   "not there already", want: incident.PreflightBlocked, reason: "The key shop/checkout has the value of revision 1 (v1) already.",
		},
		{
			name: "history of one", bucket: jetstream.KeyValueConfig{History: 1}, request: driver.PlanRequest{Revision: "1"},
			check: "history", want: incident.PreflightWarning, reason: "The bucket config keeps one revision of each key, so that there is nothing to go back to.",
		},
		{
			name: "revisions expire", bucket: jetstream.KeyValueConfig{History: 5, TTL: time.Hour}, request: driver.PlanRequest{Revision: "1"},
			check: "history", want: incident.PreflightWarning, reason: "Revisions in the bucket config expire after 1h0m0s.",
		},
		{
			name: "bucket is sealed", request: driver.PlanRequest{Revision: "1"},
			arrange: func(t *testing.T, f fixture) {
				stream, err := f.JetStream.Stream(t.Context(), "KV_config")
				require.NoError(t, err)
				config := stream.CachedInfo().Config
				config.Sealed = true
				_, err = f.JetStream.UpdateStream(t.Context(), config)
				require.NoError(t, err)
			},
			check: "bucket is writable", want: incident.PreflightBlocked, reason: "The bucket config is sealed and can not be changed.",
		},
		{
			name: "permission is there", request: driver.PlanRequest{Revision: "1"},
			check: "permission", want: incident.PreflightOK, reason: "Backout may write the key shop/checkout.",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.bucket.History == 0 {
				test.bucket.History = 5
			}
			f := newFixture(t, test.bucket)
			f.Put(t, testKey, "v1")
			f.Put(t, testKey, "v2")
			if test.arrange != nil {
				test.arrange(t, f)
			}
			if test.request.Target.IsZero() {
				test.request.Target = f.target
			}
			began := time.Now()
			planned, err := f.inverse.Plan(t.Context(), test.request)
			require.NoError(t, err)
			require.Less(t, time.Since(began), requestTimeout, "a denial was waited for")
			found := check(t, planned, test.check)
			require.Equal(t, test.want, found.Result)
			require.Equal(t, test.reason, found.Reason)
			if test.want == incident.PreflightBlocked {
				require.True(t, planned.Blocked())
				require.Zero(t, planned.To)
			}
		})
	}
}

func TestPlanAsReader(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	f.Put(t, testKey, "v1")
	f.Put(t, testKey, "v2")
	_, reader := connect(t, f.System(f.Address(), drivertest.Reader))
	planned, err := reader.Plan(t.Context(), driver.PlanRequest{Target: f.target, Revision: "1"})
	require.NoError(t, err)
	require.Equal(t, incident.Preflight{Name: "permission", Result: incident.PreflightBlocked, Reason: "Backout may not write the key shop/checkout of the bucket config."}, check(t, planned, "permission"))
}

func TestPlanWarnsOfATimeToLive(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5, LimitMarkerTTL: time.Hour})
	_, err := f.KV.Create(t.Context(), testKey, []byte("v1"), jetstream.KeyTTL(time.Hour))
	require.NoError(t, err)
	f.Put(t, testKey, "v2")
	planned, err := f.inverse.Plan(t.Context(), driver.PlanRequest{Target: f.target, Revision: "1"})
	require.NoError(t, err)
	require.False(t, planned.Blocked())
	require.Equal(t, "Revision 1 (v1) was written with a time to live and comes back without one.", check(t, planned, "time to live").Reason)
}

func TestPlanWantsOneOfRevisionAndMoment(t *testing.T) {
	t.Parallel()
	f := newFixture(t, jetstream.KeyValueConfig{History: 5})
	for _, request := range []driver.PlanRequest{
		{Target: f.target},
		{Target: f.target, Revision: "1", Before: time.Now()},
		{Target: incident.Target{System: "config", Path: "config"}, Revision: "1"},
	} {
		_, err := f.inverse.Plan(t.Context(), request)
		require.ErrorIs(t, err, driver.ErrInvalid)
	}
}

func TestMirror(t *testing.T) {
	t.Parallel()
	var checks driver.Findings
	writable(&checks, location{"copy", "key"}, bucketSettings{Mirror: []byte(`{"name":"KV_config"}`)})
	require.Equal(t, driver.Findings{{Name: "bucket is writable", Result: incident.PreflightBlocked, Reason: "The bucket copy is a mirror: the bucket it copies has to be rolled back."}}, checks)
}

func TestSubjectMatches(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, subject string
		want             bool
	}{
		{"$KV.config.key", "$KV.config.key", true},
		{"$KV.config.key", "$KV.config.key.more", false},
		{"$KV.config.*", "$KV.config.key", true},
		{"$KV.config.*", "$KV.config.key.more", false},
		{"$KV.*.key", "$KV.config.key", true},
		{"$KV.>", "$KV.config.key", true},
		{"$KV.config.key.>", "$KV.config.key", false},
		{">", "$KV.config.key", true},
		{"$KV.other.>", "$KV.config.key", false},
		{"$KV.config.key.more", "$KV.config.key", false},
	} {
		t.Run(test.pattern+" "+test.subject, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, subjectMatches(test.pattern, test.subject))
		})
	}
}
