// Package seriesfile judges a series that stands in a file: timestamps and values
// as CSV or JSON, and the moments of change and rollback.
//
// It reads what people and Prometheus write, works out step, windows and baseline
// from the series itself, and asks the judge of package recovery once. It refuses
// what it cannot read, with the line, and guesses nothing that could turn a bad
// series into a good one: what is missing is NaN, and what is NaN is not success.
//
// It is pure: it opens no file and reads no clock. Commands may import it; it
// imports workflows/recovery, workflows/incident and the standard library.
package seriesfile
