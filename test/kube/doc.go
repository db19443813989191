// Command kube runs a Kubernetes control plane in one process: etcd,
// kube-apiserver and kube-controller-manager, all of them the real ones, and in
// place of machines one Node whose pods start, become ready and stop after fixed
// delays.
//
// It is for tests and for the sandbox. It listens on 127.0.0.1 only, keeps no
// promise of durability (etcd runs without fsync) and runs no containers, so
// there are no logs, no exec and no metrics. A pod with an image whose name holds
// "bad" never becomes ready: it stays in CrashLoopBackOff.
//
// It is a module of its own because Kubernetes pins its dependencies; nothing
// imports it. Programs start the binary and read one line of JSON.
package main
