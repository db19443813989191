// Command flagger runs the controller of Flagger, the real one, against the API
// server of a kubeconfig, for tests.
//
// It makes Flagger's resources known, from the definitions that the project ships,
// and runs canaries on plain Kubernetes Services (provider "kubernetes"). It listens
// on nothing: the project's own command serves health and metrics on every
// interface. There is no metrics server, so a canary with metrics does not progress.
//
// It is a module of its own because Flagger pins its dependencies; nothing imports
// it. Programs start the binary and read one line of JSON.
package main
