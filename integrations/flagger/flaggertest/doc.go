// Package flaggertest has the case of Flagger for the suite of driver laws: it runs the
// controller of test/flagger on a real control plane, makes canaries and brings about
// what can stand in the way of a rollback.
//
// It registers its case from init. Only tests import it.
package flaggertest
