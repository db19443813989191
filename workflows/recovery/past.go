package recovery

import (
	"slices"

	"github.com/backout/backout/workflows/incident"
)

// The bounds of looking into a signal's own past.
const (
	// pastParts is how many windows must fit into the baseline at least; longer
	// ones are cut for the look into the past, which makes them move more.
	pastParts = 5
	// recentWindows is how many windows the samples before a window go back that
	// it is compared with.
	recentWindows = 5
	// recentPoints is how many samples these are at least, if there are that many.
	recentPoints = 120
	// fewestPoints is the shortest window that is worth a look into the past.
	fewestPoints = 3
	// mostPlacebos bounds the work.
	mostPlacebos = 200
	// usualShare is the share of placebos up to whose movement a signal moves as
	// usual.
	usualShare = 0.9
	// highShare is the quantile of a window that only few of its samples exceed.
	highShare = 0.95
)

// past is how a signal moved before the change, when nothing was done to it: the
// judge's own measures at every earlier moment of the baseline (placebo shifts).
// They carry whatever makes this signal differ from textbook noise: seasons,
// trends, bursts, memory.
type past struct {
	// moves are by how much the medians got worse, and highs the shares of samples
	// beyond the high mark, in rising order.
	moves, highs []float64
	// windows is how many of them do not overlap. Zero: the baseline is too short
	// to tell anything.
	windows int
}

// recent are the last samples of a baseline, with which a window of a length is
// compared.
func recent(base []float64, window int) []float64 {
	keep := max(recentWindows*window, recentPoints)
	if len(base) <= keep {
		return base
	}
	return base[len(base)-keep:]
}

// placebos looks at a window of a length at every earlier moment of the baseline
// as if the change had been there.
func (j sliJudge) placebos(base []float64, window int) past {
	window = min(window, len(base)/pastParts)
	first := max(recentWindows*window, 2*fewestPoints)
	if window < fewestPoints || len(base)-first < 2*window {
		return past{}
	}
	var p past
	p.windows = (len(base) - first) / window
	stride := max(1, window/3, (len(base)-first)/mostPlacebos)
	for at := first; at+window <= len(base); at += stride {
		before, then := recent(base[:at], window), base[at:at+window]
		p.moves = append(p.moves, j.worseBy(median(then), median(before)))
		p.highs = append(p.highs, j.shareBeyond(then, j.highMark(before)))
	}
	slices.Sort(p.moves)
	slices.Sort(p.highs)
	return p
}

// usual is the movement up to which a signal moves as it often did.
func (p past) usual() float64 {
	if p.windows == 0 {
		return 0
	}
	return max(0, quantile(p.moves, usualShare))
}

// most is the largest movement of the past.
func (p past) most() float64 {
	if p.windows == 0 {
		return 0
	}
	return p.moves[len(p.moves)-1]
}

// mostHigh is the largest share of high samples that a window of the past had.
func (p past) mostHigh() float64 {
	if p.windows == 0 {
		return 0
	}
	return p.highs[len(p.highs)-1]
}

// highMark is the value beyond which only few samples of a healthy window are, made
// worse by the tolerance.
func (j sliJudge) highMark(base []float64) float64 {
	if j.sli.Objective.Comparison == incident.Above {
		return quantile(base, 1-highShare) - j.margin(base)
	}
	return quantile(base, highShare) + j.margin(base)
}

// shareBeyond is the share of values that are worse than a mark.
func (j sliJudge) shareBeyond(values []float64, mark float64) float64 {
	if len(values) == 0 {
		return 0
	}
	var beyond int
	for _, v := range values {
		if j.worseBy(v, mark) > 0 {
			beyond++
		}
	}
	return float64(beyond) / float64(len(values))
}
