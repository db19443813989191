// Package kubernetestest has the cases of Kubernetes for the suite of driver laws:
// it makes targets on a real control plane and brings about what can stand in the
// way of a rollback.
//
// It registers its cases from init. Only tests import it.
package kubernetestest
