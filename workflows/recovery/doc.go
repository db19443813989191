// Package recovery is the judge of recovery: series in, verdict out.
//
// It answers "recovered" only when every SLI meets its objective over a short
// and a long window that lie wholly after the rollback and its warm-up, and
// agrees with a healthy window from before the bad change, under real traffic.
// Everything it cannot see is "unknown": no series, several series, NaN,
// infinity, gaps, stale or few samples, too little traffic, no baseline, or a
// baseline that was unhealthy itself.
//
// Either answer needs evidence; what has none is unknown, and says how much is
// missing. Events (bad of all) are judged by e-values of the exact binomial, which
// may be looked at every second: the chance of ever calling a service recovered
// whose ratio is at its objective or at twice its baseline, and that of ever calling
// one not recovered that is as good as its baseline, stay below one in twenty each,
// for the whole watch. Samples without events are judged by tests that know how much
// they depend on each other, and against what the signal did by itself before the
// change (placebo shifts), so that noise and seasons do not cry wolf. How this fares
// beside a fixed threshold, mean plus three sigma and Kayenta's rule stands in
// README.md, from the simulation of this package.
//
// Data checks count what going back does not take away, such as rows that a bad version
// wrote. A count above its bound is "not recovered", because that is known and not
// guessed, and a count that could not be made is "unknown", however well the SLIs are;
// the reason says which of the two it is, and the SLIs keep their own results. A count
// stands for CountEvery, so that looks every few seconds do not each ask a production
// database.
//
// Where there is no objective (backout verdict), a signal is judged by what it would
// have done by itself: by its level, trend, growth or season, whichever told the most
// at earlier moments of the baseline, and by how wrong that was there.
//
// It is pure: it sends no query, reads no clock and holds no state. Workflows,
// activities and package seriesfile may import it; it imports workflows/incident, the
// standard library, and for statistics gonum's mathext and go-moremath's stats.
package recovery
