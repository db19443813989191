// Package gitopstest has the cases of GitOps for the suite of driver laws: it makes
// Applications, Kustomizations and HelmReleases on a real control plane, and brings
// about what can stand in the way of a hold.
//
// It registers its cases from init. Only tests import it.
package gitopstest
