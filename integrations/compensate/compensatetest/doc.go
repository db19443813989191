// Package compensatetest is a real HTTP service that compensates, with a ledger
// of its effects, and describes both forms of the kind "http.compensate" to the law
// suite.
//
// The service keeps the contract of integrations/compensate from the other side:
// it verifies signatures with code of its own, refuses old and repeated requests
// and keys that come with another body, and applies each key once.
//
// Only tests import it.
package compensatetest
