package runbooks_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// simulation is a world in which the culprit is known. Nothing in it uses the
// weights of the ranking.
type simulation struct {
	// daily is how often each service changes for no harm, a day.
	daily float64
	// caused is the share of incidents that a change caused.
	caused float64
	// lag is the median time from the culprit to the onset as it is known.
	lag time.Duration
	// spread is the sigma of the logarithm of that time.
	spread float64
}

type tally struct{ right, wrong, abstained int }

func (s simulation) run(t *testing.T, seed uint64, rounds int) (ranked, newest tally) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	const services = 12
	for i := range services {
		fmt.Fprintf(&b, "---\napiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: s%d, annotations: {backout.dev/tier: internal}}\nspec: {type: service, lifecycle: production, owner: o, dependsOn: [", i)
		for j := i + 1; j < services && j <= i+3; j++ {
			if r.Float64() < 0.5 {
				fmt.Fprintf(&b, "'component:s%d',", j)
			}
		}
		b.WriteString("]}\n")
	}
	c, err := runbooks.ParseCatalogue(runbooks.File{Name: "f", Content: []byte(b.String())})
	require.NoError(t, err)
	kinds := []incident.ChangeKind{incident.ChangeDeploy, incident.ChangeDeploy, incident.ChangeDeploy, incident.ChangeConfig, incident.ChangeConfig, incident.ChangeFlag, incident.ChangeMigration, incident.ChangeInfra}
	count := func(got incident.Ranking, culprit string, into *tally) {
		switch {
		case got.Likely < 0:
			into.abstained++
		case got.Suspects[got.Likely].Change.ID == culprit:
			into.right++
		default:
			into.wrong++
		}
	}
	for range rounds {
		paged := fmt.Sprintf("s%d", r.IntN(services))
		var changes []incident.Change
		add := func(id, service string, at time.Time) {
			changes = append(changes, incident.Change{ID: id, Source: "x", Kind: kinds[r.IntN(len(kinds))], Service: service, Target: incident.Target{System: "x", Path: id}, At: at})
		}
		for i := range services {
			// A day of innocent changes, until an hour after the onset.
			for at := onset.Add(-24 * time.Hour); ; {
				at = at.Add(time.Duration(r.ExpFloat64() / s.daily * float64(24*time.Hour)))
				if at.After(onset.Add(time.Hour)) {
					break
				}
				add(fmt.Sprintf("innocent %d %s", i, at), fmt.Sprintf("s%d", i), at)
			}
		}
		culprit := ""
		if r.Float64() < s.caused {
			service, where := paged, r.Float64()
			deps := c.Dependencies(paged)
			for _, n := range deps {
				if where > 0.7 && n.Distance == 1 && r.Float64() < 0.5 || where > 0.92 && n.Distance == 2 {
					service = n.Name
				}
			}
			culprit = "culprit"
			lag := time.Duration(math.Exp(r.NormFloat64()*s.spread) * float64(s.lag))
			add(culprit, service, onset.Add(-lag))
		}
		in := runbooks.RankInput{Services: []string{paged}, Catalogue: c, OnsetAt: onset, Changes: changes}
		count(runbooks.Rank(in), culprit, &ranked)
		naive, latest := incident.Ranking{Likely: -1}, time.Time{}
		for _, ch := range changes {
			if ch.Service == paged && !ch.At.After(onset) && ch.At.After(latest) {
				naive, latest = incident.Ranking{Suspects: []incident.Suspect{{Change: ch}}}, ch.At
			}
		}
		count(naive, culprit, &newest)
	}
	return ranked, newest
}

// worth is what a tally is worth when blaming an innocent change costs as much
// as four abstentions gain.
func (s tally) worth() int { return s.right - 4*s.wrong }

func TestRankSimulation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		world simulation
		// precision is the least share of right ones among the blamed, coverage
		// the least share of right ones among the incidents with a culprit.
		precision, coverage float64
	}{
		{"few changes", simulation{daily: 1, caused: 0.7, lag: 5 * time.Minute, spread: 1}, 0.97, 0.75},
		{"some changes", simulation{daily: 4, caused: 0.7, lag: 5 * time.Minute, spread: 1}, 0.92, 0.65},
		{"many changes", simulation{daily: 12, caused: 0.7, lag: 5 * time.Minute, spread: 1}, 0.88, 0.42},
		{"slow harm", simulation{daily: 4, caused: 0.7, lag: 20 * time.Minute, spread: 1}, 0.84, 0.33},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const rounds = 1000
			ranked, newest := tt.world.run(t, 11, rounds)
			precision := float64(ranked.right) / float64(ranked.right+ranked.wrong)
			coverage := float64(ranked.right) / (rounds * tt.world.caused)
			t.Logf("ranked %+v precision %.3f coverage %.3f worth %d; newest %+v worth %d", ranked, precision, coverage, ranked.worth(), newest, newest.worth())
			require.GreaterOrEqual(t, precision, tt.precision)
			require.GreaterOrEqual(t, coverage, tt.coverage)
			require.Greater(t, ranked.worth(), newest.worth())
		})
	}
}
