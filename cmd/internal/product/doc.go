// Package product puts Backout together: it reads the configuration, opens the
// systems, the ledger and the evidence store, connects to Temporal, and runs
// the bot and the worker. The commands of the CLI are here too, so that
// cmd/backout, cmd/backoutd and cmd/sandbox differ only in which Temporal they
// bring along.
package product
