// Package recovery is the judge of recovery: series in, verdict out.
//
// It answers "recovered" only when every SLI meets its objective over a short
// and a long window that lie wholly after the rollback and its warm-up, and
// agrees with a healthy window from before the bad change, under real traffic.
// Everything it cannot see is "unknown": no series, several series, NaN,
// infinity, gaps, stale or few samples, too little traffic, no baseline, or a
// baseline that was unhealthy itself.
//
// It is pure: it sends no query, reads no clock and holds no state. Workflows
// and activities may import it; it imports workflows/incident and the standard
// library.
package recovery
