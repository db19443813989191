// Package realprom embeds the real Prometheus: its database, its scraper, its
// PromQL engine and its HTTP API, on a loopback port. Tests and cmd/sandbox use
// it; the product does not import it.
//
// It refuses to listen on anything but a loopback address, and it has no
// rules, no alerts, no service discovery and no remote write.
package realprom
