// Command argo runs the controller of Argo Rollouts, the real one, against the API
// server of a kubeconfig, for tests.
//
// It makes the resource Rollout known, from the definition that the project ships,
// and reconciles Rollouts. It listens on nothing: the servers for metrics and
// health, which the project's own command binds to every interface, are not
// started. Neither are the controllers for experiments, analysis runs and
// notifications: Rollouts that use them do not progress.
//
// It is a module of its own because Argo Rollouts pins its dependencies; nothing
// imports it. Programs start the binary and read one line of JSON.
package main
