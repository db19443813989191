// Package chart draws how the SLIs of a rollback were before, during and after
// it, as a PNG that can be read on a phone.
//
// It is pure: the same chart and theme give the same bytes. There is no clock,
// no network and no state here but the parsed fonts.
//
// It refuses to draw what was not measured: a missing sample is a gap, a query
// without an answer is an empty panel that says so, and nothing is smoothed or
// filled in. Where the incident dwarfs everything else the scale is logarithmic
// or cut, and says so, because the objective is always visible. Text from
// outside is cleaned, cut and never interpreted.
//
// Only the commands that assemble Backout import it, and hand it to the
// activities as a function.
package chart
