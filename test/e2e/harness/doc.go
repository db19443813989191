// Package harness runs the real backout binary as a child process in a small
// real world: an embedded nats-server whose bucket holds release pointers, a real
// Prometheus, and the stand-ins of Slack, PagerDuty and GitHub.
//
// The child is started, killed without warning and started again on the same
// data folder and ports. What tests look at is what people and machines see: the
// card in Slack, the incident in PagerDuty, the issue on GitHub, the history of
// the bucket, the ledger, and the workflow histories in Temporal.
//
// The binary is built once for each test process, or taken from
// BACKOUT_TEST_BINARY. Everything listens on the loopback interface. Only tests
// may import this package.
package harness
