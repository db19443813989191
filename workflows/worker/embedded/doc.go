// Package embedded runs a Temporal server inside this process, on two
// SQLite files in the data folder, one of executions and one of what lists show, for installations that name no Temporal address.
//
// It listens on the loopback address 127.0.0.1 only and asks nobody for
// credentials: every process of the machine may call it. A cluster needs a
// Temporal service of its own with mTLS or API keys; this package refuses to
// be one. The doors that a browser can reach (the Web UI and the HTTP API) are
// read-only, so that no page and no person can decide, signal or terminate
// anything past the product's own authority.
//
// It refuses a data folder that another process is using, a file that is not
// an intact Temporal database, and a file whose schema another server version
// wrote. SQLite files have no schema migration between server versions: to
// upgrade across a schema change, let the open incidents close, stop, move both
// files away and start with empty ones. The ledger and the evidence live
// elsewhere and are not touched by that.
//
// Only the main package of the product that embeds, the sandbox, tests and
// benchmarks import this package. Workflow code and the cluster build never
// do, because it links the whole Temporal server.
package embedded
