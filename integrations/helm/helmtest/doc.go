// Package helmtest has the case of Helm for the suite of driver laws: it installs and
// upgrades a release with Helm itself on a real control plane, and brings about what
// can stand in the way of a rollback.
//
// It registers its case from init. Only tests import it.
package helmtest
