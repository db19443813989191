// Package redact takes secrets out of captured documents before they are
// stored.
//
// It knows the spelling of common credentials and the names under which
// secrets stand in configuration. It leaves everything else as it is, so that
// the document still explains what happened: names, structure, empty values,
// references to secrets, commit and image digests, trace IDs.
//
// It looks through base64 and percent-encoding, a few layers deep, past what a logger
// writes before each line of a private key, and into the columns of tables. It does not
// see a secret without a name and without a known spelling, nor one in an encoding that
// is no text, such as compressed data.
//
// It works on one document at a time, keeps nothing and logs nothing. It
// imports the standard library only; workflows/activities imports it.
package redact
