// Command kube runs a Kubernetes control plane in one process: etcd,
// kube-apiserver and kube-controller-manager, all of them the real ones, and in
// place of machines a Node whose pods start, become ready and stop after fixed
// delays, and whose logs the API server fetches from a kubelet's endpoint.
//
// It is for tests and for the sandbox. It listens on 127.0.0.1 only, keeps no
// promise of durability (etcd runs without fsync) and runs no containers, so
// there is no exec and there are no metrics. A pod with an image whose name holds
// "bad" never becomes ready: it stays in CrashLoopBackOff. What else its containers
// do, and what they log, is scripted by an annotation of the pod.
//
// It is a module of its own because Kubernetes pins its dependencies; nothing
// imports it. Programs start the binary and read one line of JSON.
package main
