package runbooks

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

// RankInput is everything that the ranking looks at.
type RankInput struct {
	// Services are the paged services; one, unless a storm was grouped.
	Services []string
	// Catalogue says who depends on whom; nil means that nothing is known.
	Catalogue *Catalogue
	// OnsetAt is when the harm began.
	OnsetAt time.Time
	Changes []incident.Change
	// Signals are optional version-labelled SLI differences.
	Signals []Signal
	// Undoable are the change sources that some option undoes. When several
	// sources saw the same change, a suspect from these stands for it.
	Undoable []string
}

// Signal says how much worse an SLI is on the instances that have a change
// than on those that have not, at the same time.
type Signal struct {
	// Source and ChangeID name the change.
	Source   string
	ChangeID string
	// Difference is 1 when only the changed instances are harmed and 0 when
	// both are harmed alike.
	Difference float64
}

// candidate is a change with its weight.
type candidate struct {
	change incident.Change
	weight float64
	// same is the index of the candidate that stands for this one, or its own.
	same   int
	reason string
}

// Rank orders changes as suspects and blames one, or abstains.
//
// A change dated later than the onset by more than ClockSkew, and one older
// than Horizon, is no suspect and changes nothing. The order of the input does
// not matter, nor does a change that stands there twice. Several changes that
// explain the harm alike make the ranking abstain, and are all listed.
func Rank(in RankInput) incident.Ranking {
	if in.OnsetAt.IsZero() || len(in.Services) == 0 {
		return incident.Ranking{Likely: -1, Reason: "No likely culprit: the time or the service of the harm is not known."}
	}
	cands, late := in.candidates()
	if len(cands) == 0 {
		reason := "No likely culprit: no change was recorded in the " + age(Horizon) + " before the harm began."
		if late > 0 {
			reason = "No likely culprit: every recorded change came after the harm began or long before it."
		}
		return incident.Ranking{Likely: -1, Reason: reason}
	}
	near := in.relations()
	for i := range cands {
		in.weigh(&cands[i], near)
	}
	discountReplaced(cands)
	in.group(cands)

	sum := NullWeight
	for i, c := range cands {
		if c.same == i {
			sum += c.weight
		}
	}
	order := make([]int, len(cands))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		ra, rb := cands[a].same, cands[b].same
		return cmp.Or(cmp.Compare(cands[rb].weight, cands[ra].weight), cmp.Compare(ra, rb), cmp.Compare(boolInt(ra != a), boolInt(rb != b)))
	})
	out := incident.Ranking{Likely: -1}
	var groups []candidate
	for _, i := range order[:min(len(order), MaxSuspects)] {
		c, rep := cands[i], cands[cands[i].same]
		reason := c.reason
		if c.same != i {
			reason = fmt.Sprintf("The same change as %s, seen by %s.", describe(rep.change), c.change.Source)
		} else {
			groups = append(groups, c)
		}
		out.Suspects = append(out.Suspects, incident.Suspect{Change: c.change, Score: rep.weight / sum, Reason: reason})
	}
	out.Likely, out.Reason = verdict(groups, sum)
	return out
}

// verdict blames the first group or says why it does not. The first group's
// first suspect stands at index 0.
func verdict(groups []candidate, sum float64) (int, string) {
	first := groups[0]
	score := first.weight / sum
	second := 0.0
	if len(groups) > 1 {
		second = groups[1].weight
	}
	switch {
	case first.weight < minWeight:
		return -1, "No likely culprit: no recorded change is near enough to the harm in time and dependency."
	case second*BlameMargin > first.weight:
		return -1, fmt.Sprintf("No likely culprit: %s and %s explain the harm about equally well.", describe(first.change), describe(groups[1].change))
	case score < BlameThreshold:
		return -1, fmt.Sprintf("No likely culprit: %s comes first, but the case is too thin (%.0f of 100, %.0f are needed).", describe(first.change), math.Floor(score*100), BlameThreshold*100)
	default:
		return 0, fmt.Sprintf("%s (%.0f of 100): %s", capital(describe(first.change)), math.Floor(score*100), lower(first.reason))
	}
}

// candidates are the changes inside the window in a canonical order, each
// once, and how many fell outside.
func (in RankInput) candidates() (out []candidate, outside int) {
	var changes []incident.Change
	for _, c := range in.Changes {
		before := in.OnsetAt.Sub(c.At)
		if c.At.IsZero() || before < -ClockSkew || before > Horizon {
			outside++
			continue
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, compareChanges)
	for i, c := range changes {
		if i == 0 || !isRepeat(c, changes[i-1]) {
			out = append(out, candidate{change: c, same: len(out)})
		}
	}
	return out, outside
}

// isRepeat reports whether a change stands in the input twice.
func isRepeat(a, b incident.Change) bool {
	if compareChanges(a, b) == 0 {
		return true
	}
	return a.ID != "" && a.Source == b.Source && a.ID == b.ID && a.At.Equal(b.At) && a.Target == b.Target
}

// compareChanges is a total order over what a change is: newest first.
func compareChanges(a, b incident.Change) int {
	if c := b.At.Compare(a.At); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID),
		cmp.Compare(a.Target.String(), b.Target.String()), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Author, b.Author), cmp.Compare(a.Summary, b.Summary), cmp.Compare(a.URL, b.URL))
}

// weigh sets the weight of a candidate by itself, and its reason.
func (in RankInput) weigh(c *candidate, near []map[string]relation) {
	prior := priorOf(c.change.Kind)
	before := in.OnsetAt.Sub(c.change.At)
	when := age(before) + " before the harm began"
	fresh := skewFactor
	if before >= 0 {
		r := before.Seconds() / prior.halving.Seconds()
		fresh = 1 / (1 + r*r)
	} else {
		when = age(-before) + " after the harm began, which a wrong clock could explain"
	}
	nearness, where := in.nearness(near, c.change.Service)
	c.weight = prior.weight * fresh * nearness
	c.reason = capital(kindNoun(c.change.Kind)) + " " + where + ", " + when
	if c.change.From == incident.StateAbsent {
		c.weight *= createdFactor
		c.reason += "; nothing was there before it"
	}
	for _, s := range in.Signals {
		if s.Source != c.change.Source || s.ChangeID != c.change.ID || math.IsNaN(s.Difference) {
			continue
		}
		d := min(max(s.Difference, 0), 1)
		c.weight *= math.Pow(signalRange, 2*d-1)
		if d >= 0.5 {
			c.reason += "; the harm is on the instances that have it"
		} else {
			c.reason += "; instances without it are harmed alike"
		}
		break
	}
	c.reason += "."
	if c.weight < minWeight {
		c.weight = 0
	}
}

// relation is how close a service is to a paged one, and the words for it.
type relation struct {
	factor float64
	words  string
}

// relations are the related services of each paged one.
func (in RankInput) relations() []map[string]relation {
	out := make([]map[string]relation, len(in.Services))
	for i, paged := range in.Services {
		near := map[string]relation{paged: {distanceFactors[0], "of " + paged + ", the paged service"}}
		out[i] = near
		if in.Catalogue == nil {
			continue
		}
		for _, n := range in.Catalogue.Dependencies(paged) {
			switch {
			case n.Distance == 1:
				near[n.Name] = relation{distanceFactors[1], "of " + n.Name + ", which " + paged + " calls"}
			case n.Distance < len(distanceFactors):
				near[n.Name] = relation{distanceFactors[n.Distance], fmt.Sprintf("of %s, which %s reaches over %d calls", n.Name, paged, n.Distance)}
			}
		}
		for _, n := range in.Catalogue.Dependents(paged) {
			if _, called := near[n.Name]; !called && n.Distance == 1 {
				near[n.Name] = relation{callerFactor, "of " + n.Name + ", which calls " + paged}
			}
		}
	}
	return out
}

// nearness is how close a service is to the paged ones, on average over them,
// and the words for the closest.
func (in RankInput) nearness(near []map[string]relation, service string) (factor float64, words string) {
	if service == "" {
		return serviceUnknownFactor, "of no particular service"
	}
	best := 0.0
	for i, paged := range in.Services {
		r, ok := near[i][service]
		if !ok {
			r = relation{unrelatedFactor, "of " + service + ", which has no known relation to " + paged}
		}
		factor += r.factor
		if r.factor > best {
			best, words = r.factor, r.words
		}
	}
	return factor / float64(len(in.Services)), words
}

// discountReplaced lowers the weight of changes whose state was no longer
// there at the onset. Candidates are newest first.
func discountReplaced(cands []candidate) {
	for i := range cands {
		later := &cands[i]
		if later.change.Target.IsZero() {
			continue
		}
		restoring := false
		for j := i + 1; j < len(cands); j++ {
			earlier := &cands[j]
			if earlier.change.Source != later.change.Source || earlier.change.Target != later.change.Target || !earlier.change.At.Before(later.change.At) {
				continue
			}
			if earlier.weight > 0 && restores(later.change, earlier.change) {
				earlier.scale(undoneFactor, "; it was taken back before that")
				restoring = true
				continue
			}
			earlier.scale(supersededFactor, "; it was replaced before that")
		}
		if restoring {
			later.scale(restoringFactor, "; it went back to a state that had run")
		}
	}
}

// restores reports whether a change led back to the state that was there
// before an earlier change of the same target.
func restores(later, earlier incident.Change) bool {
	if later.To == "" || earlier.From == "" {
		return false
	}
	return later.To == earlier.From || shareVersion(later.To, earlier.From, later.Service)
}

func (c *candidate) scale(factor float64, why string) {
	if !strings.Contains(c.reason, why) {
		c.reason = strings.TrimSuffix(c.reason, ".") + why + "."
	}
	c.weight *= factor
	if c.weight < minWeight {
		c.weight = 0
	}
}

// standsBetter reports whether a is to stand for the change that b is too: one
// dated before the onset first, then one that an option undoes.
func (in RankInput) standsBetter(a, b incident.Change) bool {
	if lateA, lateB := a.At.After(in.OnsetAt), b.At.After(in.OnsetAt); lateA != lateB {
		return lateB
	}
	return slices.Contains(in.Undoable, a.Source) && !slices.Contains(in.Undoable, b.Source)
}

// group lets one candidate stand for a change that several sources saw, so
// that it is no rival of itself. The weight is the group's greatest.
func (in RankInput) group(cands []candidate) {
	for i := range cands {
		for j := range i {
			if cands[j].same == j && SameChange(cands[i].change, cands[j].change) {
				cands[i].same = j
				break
			}
		}
	}
	for i := range cands {
		if cands[i].same != i {
			continue
		}
		stand, weight := i, 0.0
		for j := range cands {
			if cands[j].same != i {
				continue
			}
			weight = max(weight, cands[j].weight)
			if in.standsBetter(cands[j].change, cands[stand].change) {
				stand = j
			}
		}
		cands[stand].weight = weight
		if stand == i {
			continue
		}
		for j := range cands {
			if cands[j].same == i {
				cands[j].same = stand
			}
		}
	}
}
