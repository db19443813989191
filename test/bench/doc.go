// Package bench measures what the product costs beside the bare engine: each
// benchmark runs the product's workflows and, turn by turn on the same
// embedded server, trivial workflows that do nothing but answer, and reports
// the ratio. Nobody imports it.
//
//	go test ./test/bench -bench .
//
// The engine's side uses the cheapest call that gives the same guarantee, with
// the same arguments in plain text. The product's side is the gateway, the
// payload encryption, the incident workflow, the real activities and the real
// ledger on disk; vendors answer at once, so that the figures say nothing about
// them. Aims: 1.1 for start-to-first-activity, 2 for an update that needs
// a decision, 1.25 for throughput.
//
// A page costs the engine more than its answer: options are collected, and ledger
// and card follow, beside the pages that come next. Throughput is therefore
// compared twice: with workflows of one activity ("ratio"), and with workflows that
// take the same durable steps and have nothing to do in them ("steps-ratio"), which
// is what is left of the engine's own time.
//
// BenchmarkDeploymentRollback compares the rollback of a Deployment through the product
// with the same undo and wait written with client-go, on a control plane of its own,
// and says what the difference is made of. Aim: 1.3 with pods that are ready after
// 200 ms. It needs BACKOUT_TEST_KUBE.
package bench
