// Package githubtest has the cases of GitHub for the suite of driver laws: it
// makes targets on the stand-in of test/fakes/github, which is held to GitHub's
// published contract, and brings about what can stand in the way of a rollback.
//
// The stand-in takes deployments and runs up when it is asked how they go on, so
// that no test waits for a clock. Its tokens have the permissions that the kinds
// ask for, and no others.
//
// It registers its cases from init. Only tests import it.
package githubtest
