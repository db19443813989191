// Package controlplane gives tests a real Kubernetes control plane: the program
// in test/kube, one for each test process, or one that runs already.
//
// It never pretends: a test that calls Require either talks to a real API server,
// or is skipped with the command that provides one, or, where the environment
// variable CI is set, fails. Only tests and the sandbox import it.
package controlplane
