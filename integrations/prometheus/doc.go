// Package prometheus measures: it registers the system type "prometheus", the
// probe "prometheus.query" and the evidence collector "prometheus.range".
//
// It asks the HTTP API for ranges and gives back every series as it is, with
// NaN. It refuses what could be half an answer: warnings, a truncated or
// oversize body, a redirect, a result that is no matrix. Judging is not its
// business.
//
// It imports integrations/driver and workflows/incident, and no other vendor.
package prometheus
