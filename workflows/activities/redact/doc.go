// Package redact takes secrets out of captured documents before they are
// stored.
//
// It knows the spelling of common credentials and the names under which
// secrets stand in configuration. It leaves everything else as it is, so that
// the document still explains what happened: names, structure, empty values,
// references to secrets, commit and image digests, trace IDs.
//
// It works on one document at a time, keeps nothing and logs nothing. It
// imports the standard library only; workflows/activities imports it.
package redact
