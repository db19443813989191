// Command sandbox is Backout's first five minutes: a small real world that
// breaks, with the product running in it.
//
// The shop's services, their metrics and customers, Prometheus, the NATS
// server with the release pointers, and Backout with its Temporal server are
// real. Slack, PagerDuty and GitHub are stand-ins held to the vendors'
// contracts. Everything listens on loopback and is gone when it ends.
//
//	go run ./cmd/sandbox         prints where to look, and waits
//	go run ./cmd/sandbox -auto   plays the people too, and ends with a summary
package main
