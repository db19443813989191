package runbooks_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// change is a deployment of a service, so long before the onset.
func change(service string, before time.Duration) incident.Change {
	return incident.Change{
		ID: fmt.Sprintf("%s@%s", service, before), Source: "nats.kv", Kind: incident.ChangeDeploy, Service: service,
		Target: incident.Target{System: "nats", Path: "releases/" + service + "/" + before.String()}, At: onset.Add(-before),
	}
}

func with(c incident.Change, edit func(*incident.Change)) incident.Change {
	edit(&c)
	return c
}

func TestRankVerdicts(t *testing.T) {
	t.Parallel()
	const m = time.Minute
	kind := func(k incident.ChangeKind) func(*incident.Change) { return func(c *incident.Change) { c.Kind = k } }
	for _, tt := range []struct {
		name    string
		changes []incident.Change
		// blamed is the index in changes, or -1.
		blamed int
		reason string
	}{
		{"nothing changed", nil, -1, "no change was recorded in the 6 h before"},
		{"fresh deployment of the paged service", []incident.Change{change("storefront", 3*m)}, 0, "The deployment of storefront (90 of 100): deployment of storefront, the paged service, 3 min before the harm began."},
		{"deployment a quarter of an hour old", []incident.Change{change("storefront", 15*m)}, 0, "storefront"},
		{"deployment an hour old is too thin", []incident.Change{change("storefront", time.Hour)}, -1, "too thin"},
		{"deployment a day old", []incident.Change{change("storefront", 24*time.Hour)}, -1, "came after the harm began or long before"},
		{"after the onset", []incident.Change{change("storefront", -m)}, -1, "came after the harm began"},
		{"dated after the onset by a wrong clock, alone", []incident.Change{change("storefront", -20*time.Second)}, -1, "too thin"},
		{"fresh deployment of a direct dependency", []incident.Change{change("checkout", 3*m)}, 0, "which storefront calls"},
		{"fresh deployment two calls away is too thin", []incident.Change{change("payments", 3*m)}, -1, "too thin"},
		{"fresh deployment of a service with no relation", []incident.Change{change("elsewhere", m)}, -1, "near enough"},
		{"two alike", []incident.Change{change("storefront", 3*m), with(change("storefront", 4*m), kind(incident.ChangeConfig))}, -1, "about equally well"},
		{"paged service against a dependency, both fresh", []incident.Change{change("storefront", 3*m), change("checkout", 2*m)}, -1, "about equally well"},
		{"paged service against an old one", []incident.Change{change("storefront", 90*m), change("storefront", 3*m)}, 1, "storefront"},
		{"paged service against a service with no relation", []incident.Change{change("elsewhere", m), change("storefront", 5*m)}, 1, "storefront"},
		{"what was created is hardly a rival", []incident.Change{with(change("storefront", time.Minute), func(c *incident.Change) { c.From = incident.StateAbsent }), change("storefront", 2*m)}, 1, "storefront"},
		{"what was created is hardly it", []incident.Change{with(change("storefront", time.Minute), func(c *incident.Change) { c.From = incident.StateAbsent })}, -1, "too thin"},
		{"flag change", []incident.Change{with(change("storefront", 2*m), kind(incident.ChangeFlag))}, 0, "flag change"},
		{"access change is rarely it", []incident.Change{with(change("checkout", 2*m), kind(incident.ChangeAccess))}, -1, "too thin"},
		{"kind that is not known", []incident.Change{with(change("storefront", 2*m), kind("moon phase"))}, 0, "change of storefront"},
		{"infrastructure of no service", []incident.Change{with(change("", 2*m), kind(incident.ChangeInfra))}, -1, "too thin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := runbooks.Rank(runbooks.RankInput{Services: []string{"storefront"}, Catalogue: shop(t), OnsetAt: onset, Changes: tt.changes})
			require.Contains(t, got.Reason, tt.reason)
			if tt.blamed < 0 {
				require.Equal(t, -1, got.Likely)
				require.Contains(t, got.Reason, "No likely culprit")
				return
			}
			require.Equal(t, 0, got.Likely)
			require.Equal(t, tt.changes[tt.blamed], got.Suspects[0].Change)
			require.GreaterOrEqual(t, got.Suspects[0].Score, runbooks.BlameThreshold)
		})
	}
}

func TestRankRefusesToGuessWithoutTheFacts(t *testing.T) {
	t.Parallel()
	changes := []incident.Change{change("storefront", time.Minute)}
	require.Equal(t, -1, runbooks.Rank(runbooks.RankInput{Services: []string{"storefront"}, Changes: changes}).Likely, "no onset")
	require.Equal(t, -1, runbooks.Rank(runbooks.RankInput{OnsetAt: onset, Changes: changes}).Likely, "no service")
	require.Equal(t, -1, runbooks.Rank(runbooks.RankInput{OnsetAt: onset, Services: []string{"storefront"}, Changes: []incident.Change{{Source: "x", Service: "storefront"}}}).Likely, "no time")
	require.Equal(t, 0, runbooks.Rank(runbooks.RankInput{OnsetAt: onset, Services: []string{"storefront"}, Changes: changes}).Likely, "no catalogue, but the service itself")
}

func TestRankSignalMovesTheScore(t *testing.T) {
	t.Parallel()
	a, b := change("storefront", 3*time.Minute), change("storefront", 5*time.Minute)
	in := runbooks.RankInput{Services: []string{"storefront"}, Catalogue: shop(t), OnsetAt: onset, Changes: []incident.Change{a, b}}
	require.Equal(t, -1, runbooks.Rank(in).Likely)
	in.Signals = []runbooks.Signal{{Source: b.Source, ChangeID: b.ID, Difference: 1}}
	got := runbooks.Rank(in)
	require.Equal(t, 0, got.Likely)
	require.Equal(t, b, got.Suspects[0].Change)
	require.Contains(t, got.Reason, "the harm is on the instances that have it")
	in.Changes = []incident.Change{a}
	in.Signals = []runbooks.Signal{{Source: a.Source, ChangeID: a.ID, Difference: 0}}
	got = runbooks.Rank(in)
	require.Equal(t, -1, got.Likely, "instances without the change are harmed alike")
}

func TestRankSeveralPagedServicesPointAtWhatTheyShare(t *testing.T) {
	t.Parallel()
	shared, own := change("payments", 2*time.Minute), change("catalogue", 2*time.Minute)
	own.Kind = incident.ChangeAccess
	got := runbooks.Rank(runbooks.RankInput{Services: []string{"checkout", "payments"}, Catalogue: shop(t), OnsetAt: onset, Changes: []incident.Change{own, shared}})
	require.Equal(t, 0, got.Likely)
	require.Equal(t, shared, got.Suspects[0].Change)
}

func TestRankReplacedChangesAreLessLikely(t *testing.T) {
	t.Parallel()
	one := incident.Target{System: "nats", Path: "releases/storefront"}
	release := func(from, to string, before time.Duration) incident.Change {
		return incident.Change{ID: to + before.String(), Source: "nats.kv", Kind: incident.ChangeDeploy, Service: "storefront", Target: one, From: from, To: to, At: onset.Add(-before)}
	}
	first, second := release("v1", "v2", 9*time.Minute), release("v2", "v3", 2*time.Minute)
	in := runbooks.RankInput{Services: []string{"storefront"}, Catalogue: shop(t), OnsetAt: onset, Changes: []incident.Change{first, second}}
	got := runbooks.Rank(in)
	require.Equal(t, second, got.Suspects[0].Change)
	require.Contains(t, got.Suspects[1].Reason, "it was replaced before that")
	elsewhere := with(second, func(c *incident.Change) { c.Target.Path = "releases/other" })
	beside := runbooks.Rank(runbooks.RankInput{Services: in.Services, Catalogue: in.Catalogue, OnsetAt: onset, Changes: []incident.Change{first, elsewhere}})
	require.Less(t, got.Suspects[1].Score, beside.Suspects[1].Score/2)

	back := release("v2", "v1", 2*time.Minute)
	in.Changes = []incident.Change{first, back}
	got = runbooks.Rank(in)
	require.Contains(t, got.Suspects[1].Reason, "it was taken back before that")
	require.Contains(t, got.Suspects[0].Reason, "went back to a state that had run")
	alone := runbooks.Rank(runbooks.RankInput{Services: in.Services, Catalogue: in.Catalogue, OnsetAt: onset, Changes: []incident.Change{back}})
	require.Less(t, got.Suspects[0].Score, alone.Suspects[0].Score)
}

func TestRankOneChangeSeenTwiceIsNoRivalOfItself(t *testing.T) {
	t.Parallel()
	pods := incident.Change{ID: "d@4", Source: "kubernetes.workload", Kind: incident.ChangeDeploy, Service: "storefront", Target: incident.Target{System: "cluster", Path: "deployment/shop/storefront"}, To: "revision 4 (v42)", At: onset.Add(-3 * time.Minute), Author: ""}
	pipeline := incident.Change{ID: "77", Source: "github.deployments", Kind: incident.ChangeDeploy, Service: "storefront", Target: incident.Target{System: "github", Path: "shop/storefront"}, To: "V42", At: onset.Add(-5 * time.Minute), Author: "sam"}
	in := runbooks.RankInput{Services: []string{"storefront"}, Catalogue: shop(t), OnsetAt: onset, Changes: []incident.Change{pipeline, pods}}
	got := runbooks.Rank(in)
	require.Equal(t, 0, got.Likely)
	require.Equal(t, pods, got.Suspects[0].Change, "the later one stands for both")
	require.InDelta(t, got.Suspects[0].Score, got.Suspects[1].Score, 0)
	require.Contains(t, got.Suspects[1].Reason, "The same change as the deployment of storefront, seen by github.deployments.")
	require.Equal(t, []string{"sam"}, runbooks.Authors(got, got.Suspects[0]), "the author is known to one source only")
	require.Equal(t, pipeline.At, runbooks.ChangedAt(got, got.Suspects[0]))

	in.Changes[1].At = onset.Add(10 * time.Second)
	in.Changes[0].At = onset.Add(-time.Minute)
	require.Equal(t, "github.deployments", runbooks.Rank(in).Suspects[0].Change.Source, "none dated after the onset stands for one dated before it")
	in.Changes = []incident.Change{pipeline, pods}

	in.Undoable = []string{"github.deployments"}
	got = runbooks.Rank(in)
	require.Equal(t, pipeline, got.Suspects[0].Change, "the one that can be undone stands for both")
	require.Equal(t, 0, got.Likely)
}

func TestSameChange(t *testing.T) {
	t.Parallel()
	a := incident.Change{Source: "nats.kv", Kind: incident.ChangeDeploy, Service: "shop2", To: "shop2:v42", At: onset}
	for _, tt := range []struct {
		name string
		edit func(*incident.Change)
		want bool
	}{
		{"another source", func(*incident.Change) {}, true},
		{"without the v", func(c *incident.Change) { c.To = "V42" }, true},
		{"the same source", func(c *incident.Change) { c.Source = "nats.kv" }, false},
		{"another service", func(c *incident.Change) { c.Service = "b" }, false},
		{"another version", func(c *incident.Change) { c.To = "shop2:v43" }, false},
		{"only the service's name in common", func(c *incident.Change) { c.To = "shop2" }, false},
		{"much later", func(c *incident.Change) { c.At = onset.Add(6 * time.Minute) }, false},
		{"no version", func(c *incident.Change) { c.To = "" }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := a
			b.Source = "github.deployments"
			tt.edit(&b)
			require.Equal(t, tt.want, runbooks.SameChange(a, b))
			require.Equal(t, tt.want, runbooks.SameChange(b, a))
		})
	}
	number := a
	number.To = "7"
	other := number
	other.Source = "x"
	require.False(t, runbooks.SameChange(number, other), "a bare number is no version")
	commit, short := a, a
	commit.To, short.To, short.Source = "3f2a91c0d4e5", "3f2a91c", "x"
	require.True(t, runbooks.SameChange(commit, short), "an abbreviated commit")
}

// randomChanges makes changes of all sorts around the onset.
func randomChanges(r *rand.Rand, n int) []incident.Change {
	services := []string{"storefront", "checkout", "payments", "catalogue", "elsewhere", ""}
	kinds := []incident.ChangeKind{incident.ChangeDeploy, incident.ChangeConfig, incident.ChangeFlag, incident.ChangeMigration, incident.ChangeInfra, incident.ChangeAccess, incident.ChangeTraffic, "other"}
	versions := []string{"v1", "v2", "v3", incident.StateAbsent, ""}
	out := make([]incident.Change, n)
	for i := range out {
		s := services[r.IntN(len(services))]
		out[i] = incident.Change{
			ID: fmt.Sprint(i), Source: []string{"nats.kv", "github.deployments"}[r.IntN(2)], Kind: kinds[r.IntN(len(kinds))], Service: s,
			Target: incident.Target{System: "nats", Path: "releases/" + s}, From: versions[r.IntN(5)], To: versions[r.IntN(5)],
			At: onset.Add(time.Duration(r.IntN(50)-40) * time.Minute).Add(time.Duration(r.IntN(60)) * time.Second),
		}
	}
	return out
}

func TestRankProperties(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	c := shop(t)
	blamed := 0
	for range 1000 {
		in := runbooks.RankInput{Services: []string{"storefront"}, Catalogue: c, OnsetAt: onset, Changes: randomChanges(r, r.IntN(7))}
		got := runbooks.Rank(in)

		shuffled := in
		shuffled.Changes = append([]incident.Change(nil), in.Changes...)
		r.Shuffle(len(shuffled.Changes), func(i, j int) {
			shuffled.Changes[i], shuffled.Changes[j] = shuffled.Changes[j], shuffled.Changes[i]
		})
		require.Equal(t, got, runbooks.Rank(shuffled), "the order of the input does not matter")

		twice := in
		twice.Changes = append(append([]incident.Change(nil), in.Changes...), in.Changes...)
		require.Equal(t, got, runbooks.Rank(twice), "a change that stands there twice counts once")

		more := in
		more.Changes = append(append([]incident.Change(nil), in.Changes...),
			change("storefront", 3*24*time.Hour), change("checkout", 7*time.Hour), change("storefront", -31*time.Second), change("storefront", -time.Hour))
		again := runbooks.Rank(more)
		require.Equal(t, got.Likely, again.Likely, "old and later changes change nothing")
		require.Equal(t, got.Suspects, again.Suspects)

		distant := in
		distant.Changes = append(append([]incident.Change(nil), in.Changes...), change("elsewhere", 5*time.Minute))
		require.Equal(t, got.Likely, runbooks.Rank(distant).Likely, "a change with no relation is no rival")

		sum := 0.0
		for i, s := range got.Suspects {
			require.False(t, s.Change.At.After(onset.Add(runbooks.ClockSkew)), "a change after the onset is no suspect")
			require.GreaterOrEqual(t, s.Score, 0.0)
			require.NotEmpty(t, s.Reason)
			require.NotContains(t, s.Reason, "\n")
			if i > 0 {
				require.LessOrEqual(t, s.Score, got.Suspects[i-1].Score)
			}
			sum += s.Score
		}
		if got.Likely >= 0 {
			blamed++
			require.Equal(t, 0, got.Likely)
			require.GreaterOrEqual(t, got.Suspects[0].Score, runbooks.BlameThreshold)
			require.False(t, got.Suspects[0].Change.At.After(onset), "a wrong clock alone convicts nobody")
		}
		require.NotEmpty(t, got.Reason)
	}
	require.Greater(t, blamed, 50, "the properties were not tried on abstentions only")
}

// TestRankARivalNeverHelps: one more change may make the ranking abstain, or
// be blamed itself, but never turns an abstention into blaming another.
func TestRankARivalNeverHelps(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	c := shop(t)
	for range 1000 {
		changes := randomChanges(r, 1+r.IntN(5))
		for i := range changes {
			changes[i].Target.Path += fmt.Sprint(i) // Nothing replaces anything.
			changes[i].To = ""
		}
		last := changes[len(changes)-1]
		in := runbooks.RankInput{Services: []string{"storefront"}, Catalogue: c, OnsetAt: onset, Changes: changes[:len(changes)-1]}
		before := runbooks.Rank(in)
		in.Changes = changes
		after := runbooks.Rank(in)
		if after.Likely >= 0 && after.Suspects[0].Change != last {
			require.Equal(t, 0, before.Likely)
			require.Equal(t, before.Suspects[0].Change, after.Suspects[0].Change)
		}
	}
}
