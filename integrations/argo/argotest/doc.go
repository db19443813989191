// Package argotest has the cases of Argo Rollouts for the suite of driver laws: it
// runs the controller of test/argo on a real control plane, makes Rollouts and brings
// about what can stand in the way of a rollback.
//
// It registers its case from init. Only tests import it.
package argotest
